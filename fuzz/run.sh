#!/usr/bin/env bash
# Runs every fuzz target, SECONDS_IN_ALL together, half of them on the record path. Fetches
# what is missing: a nightly toolchain by rustup, cargo-fuzz into .sandbox. Ends with status 1 at the
# first input that breaks a property; the input then lies in fuzz/artifacts or fuzz/codec/artifacts.
set -euo pipefail

seconds_in_all=${1:-1800}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sandbox_dir=${SANDBOX_DIR:-$root/.sandbox}
toolchain=${FUZZ_TOOLCHAIN:-nightly}
export PATH="$sandbox_dir/bin:$PATH"

rustup run "$toolchain" rustc --version >/dev/null 2>&1 ||
    rustup toolchain install "$toolchain" --profile minimal
cargo fuzz --version >/dev/null 2>&1 ||
    (cd / && cargo install --locked cargo-fuzz --root "$sandbox_dir")

cd "$root"
# The second readings follow a hostile record as deep as it goes.
ulimit -s "$(ulimit -H -s)"

# Without a sanitizer: librdkafka's configure does not link against the objects that the others make,
# and what is fuzzed here is safe Rust but for the borrowed message and ASCII.
fuzz() { cargo "+$toolchain" fuzz "$2" --fuzz-dir "$1" --sanitizer none "${@:3}"; }

run() {
    local directory=$1 target=$2 seconds=$3
    shift 3
    mkdir -p "fuzz/corpus/$target"
    printf 'fuzz: %s for %s seconds\n' "$target" "$seconds"
    fuzz "$directory" run "$target" "fuzz/corpus/$target" "tests/material/hostile/$target" "$@" -- \
        -dict=fuzz/hostile.dict -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -print_final_stats=1
}

fuzz fuzz/codec build
run fuzz/codec avro $((seconds_in_all / 6))
run fuzz/codec protobuf $((seconds_in_all / 6))
fuzz fuzz build
run fuzz record $((seconds_in_all / 2)) tests/material/json/test_parsing
run fuzz inputs $((seconds_in_all / 6))
