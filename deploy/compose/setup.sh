#!/usr/bin/env bash
# Sets a demo committee up on a local chain, once: contracts, keys, configurations, registrations,
# the first epoch and one rollup. Everything goes to one folder, which the services then read. For
# demonstrations: the keys are cheap to guess.
set -euo pipefail

rpc=${RPC_URL:-http://l1:8545}
folder=${FOLDER:-/var/lib/dac}
members=${MEMBERS:-7} k=${K:-3} q=${Q:-5}
# Where others find member number %d.
dispersal_url=${DISPERSAL_URL:-http://member-%d:7001}
retrieval_url=${RETRIEVAL_URL:-http://member-%d:7002}
rollup=0x1111111111111111111111111111111111111111

cd "$folder"
if [ -e deployment.json ] && [ -e done ]; then
    echo 'set up already'
    exit 0
fi

# JSON-RPC by bash alone: method, parameters. Fails unless the answer is a result. In a subshell, so
# that the connection is always closed.
call() (
    body="{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$1\",\"params\":$2}" address=${rpc#http://}
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}" || exit
    printf 'POST / HTTP/1.0\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
        "$address" "${#body}" "$body" >&3 || exit
    answer=$(timeout 10 cat <&3)
    [[ $answer == *'"result"'* ]]
)
# The public value (address or key) that `dac keygen` printed.
keygen() {
    dac --json keygen "$1" --out "$2.json" --password-file "$2.password" --new-password-file --kdf light |
        sed -nE 's/^ *"(address|public_key)": "(0x[0-9a-fA-F]+)".*/\2/p'
}
fund() {
    call anvil_setBalance "[\"$1\", \"0x3635c9adc5dea00000\"]"
}

waited=0
until call eth_chainId '[]' 2>/dev/null; do
    if ((SECONDS >= ${L1_PATIENCE:-60})); then
        echo "L1 at $rpc does not answer" >&2
        exit 1
    fi
    ((waited++)) || echo "waiting for L1 at $rpc" >&2
    sleep 1
done

fund "$(keygen ethereum owner)"
owner=(--key owner.json --password-file owner.password)
dac admin deploy --rpc-url "$rpc" "${owner[@]}" --activation-delay 1h --grace 1h --out deployment.json
export DAC_DEPLOYMENT=$folder/deployment.json
field() { sed -nE "s/^ *\"$1\": \"?([0-9a-zA-Z]+)\"?,?/\1/p" deployment.json; }

chain() {
    cat <<TOML
[chain]
rpc = ["$rpc"]
chain_id = $(field chain_id)
registry = "$(field registry)"
certificate_log = "$(field certificate_log)"
poll_interval = "1s"
TOML
}

operators=()
for ((seat = 0; seat < members; seat++)); do
    mkdir -p "member-$seat"
    keygen bls "member-$seat/bls" >/dev/null
    operator=$(keygen ethereum "member-$seat/operator")
    fund "$operator"
    # shellcheck disable=SC2059 # the patterns are formats
    dac register --key "member-$seat/operator.json" --password-file "member-$seat/operator.password" \
        --bls-key "member-$seat/bls.json" --bls-password-file "member-$seat/bls.password" \
        --dispersal-url "$(printf "$dispersal_url" "$seat")" --retrieval-url "$(printf "$retrieval_url" "$seat")"
    operators+=("$operator")
    {
        chain
        cat <<TOML

[keys]
bls_keystore = "bls.json"
password_file = "bls.password"

[store]
url = "sqlite:node.db"

[dispersal]
listen = "0.0.0.0:${DISPERSAL_PORT:-7001}"

[retrieval]
listen = "0.0.0.0:${RETRIEVAL_PORT:-7002}"

[repair]
# The committee lives in one private network.
private_endpoints = true
TOML
    } >"member-$seat/node.toml"
done
dac admin open-epoch "${owner[@]}" --k "$k" --q "$q" --operators "$(IFS=,; echo "${operators[*]}")"

poster=$(keygen ethereum poster)
dac admin admit-rollup "${owner[@]}" --rollup "$rollup" --poster "$poster" --retention 30d --daily-bytes 1GiB

mkdir -p aggregator
disperser=$(keygen ethereum aggregator/disperser)
fund "$disperser"
{
    chain
    cat <<TOML

[keys]
disperser_keystore = "disperser.json"
password_file = "disperser.password"

[store]
url = "sqlite:aggregator.db"

[grpc]
listen = "0.0.0.0:${API_PORT:-7000}"

[dispersal]
# The committee lives in one private network.
allow_private_endpoints = true

[posting]
confirmations = 1
TOML
} >aggregator/aggregator.toml
cat >rollup.env <<ENV
DAC_DEPLOYMENT=$folder/deployment.json
DAC_ROLLUP=$rollup
DAC_DISPERSER=$disperser
DAC_POSTER=$folder/poster.json
DAC_POSTER_PASSWORD_FILE=$folder/poster.password
ENV
touch done
echo 'set up'
