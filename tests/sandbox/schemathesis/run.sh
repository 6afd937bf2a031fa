#!/usr/bin/env bash
# Tries the control API of a daemon of its own with requests that Schemathesis makes of the API's own
# description: no 5xx but the documented 503, no answer that is not described, whatever is sent.
#
#   run.sh DAEMON [EXAMPLES]    EXAMPLES for each call, 50 by default
#
# No server runs beside it: created pipelines wait for theirs. Schemathesis is installed into
# SANDBOX_DIR (default: .sandbox at the project's root) the first time, about 100 MB.
set -euo pipefail

readonly VERSION=4.32.5
readonly TOKEN=open-sesame

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
daemon=$1
examples=${2:-50}
sandbox_dir=${SANDBOX_DIR:-$here/../../../.sandbox}
mkdir -p "$sandbox_dir"
venv=$(cd "$sandbox_dir" && pwd)/schemathesis-$VERSION

if [ ! -d "$venv" ]; then
    rm -rf "$venv.partial"
    python3 -m venv "$venv.partial"
    "$venv.partial/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$VERSION"
    # Complete or not there; its commands would know the old place, so Python is told the module.
    mv "$venv.partial" "$venv"
fi

work=$(mktemp -d)
pid=
finish() {
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/config.toml" <<CONFIG
[service]
http_listen = "127.0.0.1:$port"
state_dir = "$work/state"
admin_token = "$TOKEN"
[kafka]
bootstrap_servers = ["127.0.0.1:1"]
[clickhouse]
url = "http://127.0.0.1:1"
CONFIG
"$daemon" run --config "$work/config.toml" 2>"$work/log" &
pid=$!
for _ in $(seq 100); do
    curl -sf "http://127.0.0.1:$port/livez" >/dev/null && break
    sleep 0.1
done

cd "$work"
status=0
"$venv/bin/python" -m schemathesis.cli --config-file "$here/config.toml" \
    run "http://127.0.0.1:$port/api/v1/openapi.json" \
    --header "Authorization: Bearer $TOKEN" --checks all --max-examples "$examples" \
    --continue-on-failure --warnings off || status=$?

curl -sf "http://127.0.0.1:$port/livez" >/dev/null || { echo "the daemon does not answer any more"; status=1; }
if grep -q panic "$work/log"; then
    grep panic "$work/log"
    status=1
fi
kill -TERM "$pid"
ended=0
wait "$pid" || ended=$?
pid=
# 4: a pipeline that was created has halted.
case $ended in 0 | 4) ;; *) echo "the daemon ended with $ended"; tail -5 "$work/log"; status=1 ;; esac
exit "$status"
