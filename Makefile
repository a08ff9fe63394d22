# Two commands matter: `make demo` and `make test`. Both work on a machine with Rust, a C compiler
# and Node.js ≥ 20. Everything is built in the dev profile (see Cargo.toml: dependencies and
# arithmetic are optimised in it), so that the tests and the demo share what was compiled.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CARGO ?= cargo
# `make demo PAYLOAD=path/to/file` disperses another file.
PAYLOAD ?= demo-data/linea-6-blobs.bin
# The features that clippy and rustdoc check beside the default ones.
GATE_FEATURES := dac-bench/micro,dac-fuzz/fuzzing

.PHONY: help setup build programs demo test test-rust slow test-instructions reliability simulation reliability-report test-guest test-contracts test-contracts-fast fmt fmt-check lint doc structure deny fuzz bench bench-document bench-system bench-peers bench-report clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

setup: contracts/node_modules/.package-lock.json ## install the pinned parts from npm: anvil, forge, solc, OpenZeppelin

contracts/node_modules/.package-lock.json: contracts/package.json contracts/package-lock.json
	@tools/check-prerequisites
	npm ci --prefix contracts
	@touch $@

# The programs that the demo runs. `--workspace` chooses the features of the whole workspace, which
# are those of the tests too: what is built here, the tests do not build again (tools/compiled-once
# checks it).
PROGRAMS := dac-node dac-aggregator dac reference-rollup dac-demo

build: ## the programs: dac-node, dac-aggregator, dac, reference-rollup
	$(CARGO) build --locked --workspace $(PROGRAMS:%=--bin %)

programs:
	@echo $(PROGRAMS)

demo: setup build ## 7 members and a payments rollup on this machine: settle with real proofs, kill nearly everyone, leave
	target/debug/dac-demo --payload "$(PAYLOAD)"

test: test-rust test-guest test-instructions test-contracts ## every test but the slow ones: Rust, whole system on real processes, guest without std, Solidity

test-rust: setup build
	@tools/test-prerequisites
	tools/with-postgres $(CARGO) test --locked --workspace

# They are marked `#[ignore = "slow: make slow"]`, so `make test` compiles them with the others, and
# no list names them. What attacks cost is told on the terminal.
slow: setup build ## the tests of the whole system that `make test` leaves out: every attack, with its figures; a database that fails over
	tools/with-postgres $(CARGO) test --locked --workspace --test '*' -- --ignored --nocapture

# The tests that break things and write lines for the report: whole files of tests/, and elsewhere
# by their names.
FAULT_TESTS := kills failover histories storage weather dispersers byzantine runbook renewals versions rotation backups sharing
FAULT_UNITS := database::tests:: store::tests:: tests::repair:: tests::renewal:: tests::retrieval:: tests::lifecycle:: cancelled \
	sharing:: renewing:: members_live_through is_found
# Lines of what they measure, the simulation's summaries, the report.
RELIABILITY_DIR := $(CURDIR)/target/reliability
# `make reliability RELIABILITY=long` tries everything ten times as often, and many more seeds of
# the simulation.
RELIABILITY ?= short
ifeq ($(RELIABILITY),long)
RELIABILITY_SCALE ?= 10
SEEDS_OF_16 ?= 18000
SEEDS_OF_64 ?= 2000
else
RELIABILITY_SCALE ?= 1
SEEDS_OF_16 ?= 900
SEEDS_OF_64 ?= 100
endif

# A failure does not stop the run: the report names it, and the command fails at the end.
reliability: setup build ## all fault tests and the simulation; writes docs/reliability.md's table; RELIABILITY=long takes hours
	rm -rf $(RELIABILITY_DIR)
	failed=; export DAC_RELIABILITY_DIR=$(RELIABILITY_DIR) DAC_RELIABILITY_SCALE=$(RELIABILITY_SCALE); \
	tools/with-postgres bash -c 'failed=0; \
		$(CARGO) test --locked --workspace --no-fail-fast $(FAULT_TESTS:%=--test %) -- --nocapture --include-ignored || failed=1; \
		$(CARGO) test --locked --workspace --no-fail-fast --lib --test service --test seeds -- $(FAULT_UNITS) || failed=1; \
		exit $$failed' || failed="$$failed tests"; \
	$(MAKE) --no-print-directory simulation || failed="$$failed simulation"; \
	$(MAKE) --no-print-directory reliability-report || failed="$$failed report"; \
	if [ -n "$$failed" ]; then echo "make reliability: failed:$$failed" >&2; exit 1; fi

simulation: ## the deterministic simulation: 900 seeds of 16 members, 100 of 64
	$(CARGO) build --locked --workspace --bin dac-simulation
	@mkdir -p $(RELIABILITY_DIR)
	failed=0; for run in "16 $(SEEDS_OF_16)" "64 $(SEEDS_OF_64)"; do \
		read -r n seeds <<<"$$run"; \
		target/debug/dac-simulation --seeds $$seeds --n $$n --json >$(RELIABILITY_DIR)/simulation-$$n.json || failed=1; \
	done; exit $$failed

# With REPORT_OPTIONS=--check the document stays as it is, and its table must be of the same
# promises and tests.
reliability-report:
	$(CARGO) build --locked --workspace --bin dac-reliability
	target/debug/dac-reliability --folder $(RELIABILITY_DIR) --document docs/reliability.md $(REPORT_OPTIONS)

test-instructions: ## compare instruction counts of coding and of a simulated history with the committed counts
	tools/instruction-counts

test-guest:
	tools/test-guest

test-contracts: setup
	npm test --prefix contracts

test-contracts-fast: setup ## the contracts' tests by the compiler's quick pipeline, for development
	npm run test:fast --prefix contracts

fmt: ## format everything
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path guest/bare/Cargo.toml

fmt-check:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path guest/bare/Cargo.toml --check

lint: fmt-check ## format and clippy, warnings denied
	$(CARGO) clippy --locked --workspace --all-targets --features $(GATE_FEATURES) -- -D warnings
	$(CARGO) clippy --locked --release --manifest-path guest/bare/Cargo.toml --target-dir target/guest-bare -- -D warnings

doc: ## the documentation of the crates, into target/doc: every link must lead somewhere
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --features $(GATE_FEATURES)

structure: ## check the picture of the crates, loops of imports, comments, and that tests compile nothing twice
	tools/crate-graph
	tools/import-loops
	tools/comments
	tools/compiled-once

deny: ## licences, sources and banned crates
	tools/cargo-deny check bans licenses sources

fuzz: ## every fuzz target for ten seconds, or FUZZ_SECONDS; needs a nightly toolchain
	tools/fuzz

# `make bench BENCH=full` measures every committee, payload and store: hours. BENCH_DOCUMENT= leaves
# the document alone.
BENCH ?= short
BENCH_DOCUMENT ?= docs/performance.md
BENCH_PARTS := target/bench/parts
ifeq ($(BENCH),full)
BENCH_SYSTEM_OPTIONS ?= --full
endif

# $(call bench_part,NAME,COMMAND): a failure does not stop the run; the report names it, and the
# command fails at the end.
bench_part = { $(2); } || [ -s $(BENCH_PARTS)/$(1).failures ] || echo "ended with an error, told on the terminal" >$(BENCH_PARTS)/$(1).failures

# Checked before an hour of measuring: the document that gets the page exists and has its marks.
bench-document:
	@for document in $(BENCH_DOCUMENT); do \
		grep -q 'made by `make bench`: begin' "$$document" || \
		{ echo "BENCH_DOCUMENT=$$document: no document with the marks of the made part" >&2; exit 1; }; \
	done

bench: bench-document setup ## every benchmark, beside peers: target/bench/report.json and docs/performance.md; an hour or so
	rm -rf target/bench
	mkdir -p $(BENCH_PARTS)
	$(call bench_part,peers,$(MAKE) --no-print-directory bench-peers)
	$(call bench_part,coding,$(CARGO) bench --locked -p dac-bench --features micro --bench coding)
	$(call bench_part,signatures,$(CARGO) bench --locked -p dac-bench --features micro --bench signatures)
	$(call bench_part,proving,$(CARGO) bench --locked -p dac-bench --features micro --bench proving)
	$(call bench_part,system,$(MAKE) --no-print-directory bench-system)
	@$(MAKE) --no-print-directory bench-report

bench-system: setup ## the whole system alone, less than half an hour; BENCH_SYSTEM_OPTIONS=--help tells what else there is
	$(CARGO) build --locked --release -p dac-node -p dac-aggregator
	tools/with-postgres $(CARGO) run --locked --release -p dac-bench --bin dac-bench-system -- $(BENCH_SYSTEM_OPTIONS)

bench-peers: ## peers' released crates, in programs of their own
	for peer in bench/peers/commonware-*; do \
		$(CARGO) build --locked --release --manifest-path $$peer/Cargo.toml --target-dir target/peers || exit; \
	done

bench-report: bench-document ## the report and the page again, of what was measured last
	$(CARGO) run --locked --release -p dac-bench --bin dac-bench-report -- $(BENCH_DOCUMENT:%=--document %)

clean: ## remove everything that was built or installed here
	$(CARGO) clean
	rm -rf contracts/node_modules contracts/out contracts/out-fast contracts/cache contracts/cache-fast
