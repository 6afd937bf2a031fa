#!/usr/bin/env bash
# Runs every fuzz target, SECONDS_IN_ALL together, half of them on the record path. Fetches
# what is missing: a nightly toolchain by rustup, cargo-fuzz into .sandbox. Ends with status 1 at the
# first input that breaks a property; the input then lies in fuzz/artifacts.
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
# Without a sanitizer: librdkafka's configure does not link against the objects that the others make,
# and what is fuzzed here is safe Rust but for the borrowed message.
fuzz() { cargo "+$toolchain" fuzz "$1" --sanitizer none "${@:2}"; }
fuzz build

run() {
    local target=$1 seconds=$2
    shift 2
    mkdir -p "fuzz/corpus/$target"
    printf 'fuzz: %s for %s seconds\n' "$target" "$seconds"
    fuzz run "$target" "fuzz/corpus/$target" "tests/material/hostile/$target" "$@" -- \
        -dict=fuzz/hostile.dict -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -print_final_stats=1
}

run record $((seconds_in_all / 2)) tests/material/json/test_parsing
run inputs $((seconds_in_all / 6))
run avro $((seconds_in_all / 6))
run protobuf $((seconds_in_all / 6))
