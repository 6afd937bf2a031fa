#!/bin/sh
# For cron, some minutes past each hour:
#   5 * * * *  /usr/local/bin/hourly.sh
# Waits until the hour that has just ended is complete, then makes its report.
set -eu
pipeline=${STREAMWEIR_PIPELINE:-clickstream}
config=${STREAMWEIR_CONFIG:-/etc/streamweir/config.toml}
hour=$(date -u +%Y-%m-%dT%H:00:00Z)

code=0
streamweir wait --pipeline "$pipeline" --watermark "$hour" --timeout 50m --config "$config" || code=$?
case $code in
    0) ;;
    1) echo "the hour before $hour is not complete yet" >&2; exit 1 ;;
    4) echo "$pipeline has halted: see its status page" >&2; exit 4 ;;
    *) exit "$code" ;;
esac
echo "report of the hour before $hour"
