#!/usr/bin/env bash
# A line on memory and load. The clock calls it as hob.toml says; a person may call it too.
set -euo pipefail
for_whom=${Http_X_Hob_Scheduled_For:-whoever asks}
free=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
read -r load _ < /proc/loadavg
report="report for $for_whom: $free MiB of memory free, load $load"
# The answer to the clock is kept with its call; the log has them all in a row.
echo "$report" >&2
echo "$report"
