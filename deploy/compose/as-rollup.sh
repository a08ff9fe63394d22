#!/usr/bin/env bash
# Runs a command with the demo rollup's key and addresses, which setup.sh wrote.
set -euo pipefail
set -a
# shellcheck disable=SC1091 # it is made by setup.sh
. "${FOLDER:-/var/lib/dac}/rollup.env"
exec "$@"
