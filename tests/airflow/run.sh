#!/usr/bin/env bash
# Runs the DAGs of examples/airflow in a real Airflow, with SQLite.
#
#   run.sh STREAMWEIR SANDBOX
#
# Airflow is installed into SANDBOX_DIR (default: .sandbox at the project's root) the first time, about 500 MB.
set -euo pipefail

readonly VERSION=3.3.2

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
streamweir=$1
sandbox=$2
sandbox_dir=${SANDBOX_DIR:-$project/.sandbox}
mkdir -p "$sandbox_dir"
venv=$(cd "$sandbox_dir" && pwd)/airflow-$VERSION

if [ ! -d "$venv" ]; then
    rm -rf "$venv.partial"
    python3 -m venv "$venv.partial"
    "$venv.partial/bin/pip" install --quiet --disable-pip-version-check "apache-airflow==$VERSION" confluent-kafka
    # Complete or not there; its commands would know the old place, so Python is told the module.
    mv "$venv.partial" "$venv"
fi

work=$(mktemp -d)
pid=
finish() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

if [ -z "${KAFKA_BROKERS:-}" ]; then
    "$sandbox" up >"$work/servers" 2>"$work/sandbox.log" &
    pid=$!
    for _ in $(seq 120); do
        grep -q REDIS_URL "$work/servers" && break
        kill -0 "$pid"
        sleep 1
    done
    # shellcheck disable=SC1091
    . "$work/servers"
fi
"$venv/bin/python" "$project/tests/airflow/try_dags.py" "$streamweir" "$project" "$work"
