#!/usr/bin/env bash
# How long this machine is up, and how busy it is.
set -eu
read -r seconds _ < /proc/uptime
read -r one five fifteen _ < /proc/loadavg
seconds=${seconds%.*}
printf 'up %d days, %d:%02d hours, load average: %s, %s, %s\n' \
    $((seconds / 86400)) $((seconds / 3600 % 24)) $((seconds / 60 % 60)) "$one" "$five" "$fifteen"
