# `make demo` and `make test` need a Debian machine with Rust (rustup reads rust-toolchain.toml)
# and nothing else: `deps` brings the rest, Debian packages where they are missing (with root or
# sudo), Kafka, Debezium and ClickHouse's engine into .sandbox/.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
SANDBOX_DIR ?= .sandbox
WITH_TOOLS := PATH="$(abspath $(SANDBOX_DIR))/bin:$$PATH"

.DEFAULT_GOAL := help
.PHONY: help deps deps-test build demo demo-cdc demo-medallion test test-avro test-airflow test-versions soak fuzz schemathesis bench instructions figures explore lint book deb try-deb sbom clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Fetch what the demo runs (quick when it is there)
	@tests/sandbox/install.sh

deps-test: ## Fetch what the tests run besides
	@tests/sandbox/install.sh tests

build: ## Build the release binary
	$(CARGO) build --release

# What a demo needs and nothing else: Debian packages first, since the compiler is among them, then
# everything else while cargo compiles. Both packages in one go: with one set of features nothing is
# compiled twice.
define fetch_and_build
	@tests/sandbox/install.sh $(1) packages
	@tests/sandbox/install.sh $(1) parts & parts=$$!; \
		$(CARGO) build --package streamweir --package sandbox || { kill $$parts; exit 1; }; wait $$parts
endef

demo: ## Show it at work on live traffic until Ctrl-C (SECONDS=30 bounds it)
	$(call fetch_and_build,demo)
	@$(TARGET_DIR)/debug/sandbox demo $(if $(SECONDS),--seconds $(SECONDS))

demo-cdc: ## Show replicas of a PostgreSQL database that changes at random (SECONDS=30 bounds it)
	$(call fetch_and_build,demo-cdc)
	@$(TARGET_DIR)/debug/sandbox demo-cdc $(if $(SECONDS),--seconds $(SECONDS))

demo-medallion: ## Show raw records, clean ones and windows from one topic (SECONDS=30 bounds it)
	$(call fetch_and_build,demo)
	@$(TARGET_DIR)/debug/sandbox demo-medallion $(if $(SECONDS),--seconds $(SECONDS))

# Beside the tests' build: what runs for every record is optimised, all else is taken from there.
# Incremental compilation inlines less: an event took 5 % more instructions.
COUNTED = CARGO_INCREMENTAL=0 $(CARGO) build --workspace --features failpoints --bin instructions \
	--config benches/instructions.toml

# One compilation: cargo builds every target of both packages, the `streamweir` and `sandbox`
# executables that the tests start among them, before it runs the first test. What is counted after
# them is compiled once more.
# Most tests wait most of the time: two at once for each processor, and one more.
TEST_THREADS = $${RUST_TEST_THREADS:-$$((2 * $$(nproc) + 1))}

test: deps-test ## Run every test, against real Kafka, ClickHouse, Redis and Debezium
	RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --workspace --features failpoints --no-fail-fast
	$(COUNTED)
	@$(TARGET_DIR)/debug/instructions guard

# What it fetches besides is large, and needs a newer Java than the rest: so it is no part of `test`.
test-avro: ## Keep replicas of random changes that Debezium writes in Avro, with a real schema registry
	@tests/sandbox/install.sh registry
	$(CARGO) test --workspace --features failpoints --no-run
	@$(CARGO) test --workspace --features failpoints --test soak --quiet -- run --only cdc-avro --scale 0

# Each server that is supported beside those of `make test`; VERSIONS= chooses, as version-kafka-3.9.
test-versions: ## Run every kind on other versions of ClickHouse and Kafka, and print the table of docs/support.md
	@tests/sandbox/install.sh versions
	$(CARGO) test --workspace --features failpoints --no-run
	@$(CARGO) test --workspace --features failpoints --test soak --quiet -- run --only $(or $(VERSIONS),version-) --scale 0.3

instructions: deps ## Count the instructions a record takes, by stage (KEEP=1: what `make test` guards)
	$(COUNTED)
	@$(TARGET_DIR)/debug/instructions $(if $(KEEP),keep)

# What it is told goes through: make soak SOAK='--only kills --scale 0.1 --seed 7'
soak: deps-test ## Run the fault programme at length and print its table (SOAK= passes options on)
	$(CARGO) test --workspace --features failpoints --no-run
	@$(CARGO) test --workspace --features failpoints --test soak --quiet -- run $(SOAK)

bench: deps ## Measure CPU per event, change, sale and join (EVENTS=, CHANGES=, SALES=, JOINS=, ROUNDS=, ONLY=joins)
	$(CARGO) build --release --workspace
	@$(TARGET_DIR)/release/throughput $(if $(ONLY),--only $(ONLY)) $(if $(EVENTS),--events $(EVENTS)) $(if $(SALES),--sales $(SALES)) \
		$(if $(JOINS),--joins $(JOINS)) $(if $(CHANGES),--changes $(CHANGES)) $(if $(ROUNDS),--rounds $(ROUNDS))

figures: deps ## Measure memory, rest, freshness, latency, takeover and scaling (about 16 minutes)
	$(CARGO) build --release --workspace
	@$(TARGET_DIR)/release/throughput figures $(if $(ONLY),--only $(ONLY))

explore: ## Try every interleaving of the write protocol within larger bounds (minutes)
	$(CARGO) test --release -p streamweir-core --lib progress::model -- --ignored --nocapture

fuzz: ## Feed hostile bytes to all that reads what others wrote (SECONDS=1800)
	@fuzz/run.sh $(or $(SECONDS),1800)

test-airflow: ## Run the example DAGs in a real Airflow with SQLite (fetches Airflow, 500 MB)
	$(CARGO) build --workspace
	@tests/airflow/run.sh $(TARGET_DIR)/debug/streamweir $(TARGET_DIR)/debug/sandbox

schemathesis: ## Try the control API with requests made of its description (EXAMPLES=50; fetches Schemathesis)
	$(CARGO) build
	@tests/sandbox/schemathesis/run.sh $(TARGET_DIR)/debug/streamweir $(EXAMPLES)

lint: ## Check format, lints and dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	@$(WITH_TOOLS) $(CARGO) deny --version >/dev/null 2>&1 || \
		{ echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	$(WITH_TOOLS) $(CARGO) deny check bans licenses sources

# Compiled once, into the sandbox's directory; without what serves pages and watches files.
MDBOOK_VERSION := 0.5.4
MDBOOK_BUILD := $(abspath $(SANDBOX_DIR))/mdbook-build

book: ## Build docs/ as a book into book/ (fetches mdbook the first time)
	@$(WITH_TOOLS) mdbook --version 2>/dev/null | grep -qxF 'mdbook v$(MDBOOK_VERSION)' || { \
		$(CARGO) install --quiet --locked --force --no-default-features --features search \
			--root $(abspath $(SANDBOX_DIR)) --no-track --target-dir $(MDBOOK_BUILD) \
			mdbook@$(MDBOOK_VERSION) && rm -rf $(MDBOOK_BUILD); }
	$(WITH_TOOLS) mdbook build docs

DEB_VERSION := 3.8.0

deb: ## Build a package for Debian 12 and later into target/debian/ (fetches cargo-deb the first time)
	@$(WITH_TOOLS) cargo-deb --version 2>/dev/null | grep -qxF '$(DEB_VERSION)' || \
		$(CARGO) install --quiet --locked --force --root $(abspath $(SANDBOX_DIR)) --no-track cargo-deb@$(DEB_VERSION)
	$(WITH_TOOLS) $(CARGO) deb --locked

try-deb: deb ## Install, upgrade, remove and purge the package in a Debian 12 of its own (root, debootstrap)
	@packaging/try-deb.sh $(TARGET_DIR)/debian/streamweir_*.deb

SBOM_VERSION := 0.5.9

sbom: ## Write a bill of materials of the binary, streamweir.cdx.json (fetches cargo-cyclonedx the first time)
	@$(WITH_TOOLS) cargo-cyclonedx cyclonedx --version 2>/dev/null | grep -q ' $(SBOM_VERSION)$$' || \
		$(CARGO) install --quiet --locked --force --root $(abspath $(SANDBOX_DIR)) --no-track cargo-cyclonedx@$(SBOM_VERSION)
	$(WITH_TOOLS) $(CARGO) cyclonedx --format json --describe binaries --target x86_64-unknown-linux-gnu

clean: ## Remove what was built and fetched
	$(CARGO) clean
	rm -rf $(SANDBOX_DIR) book
