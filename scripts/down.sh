#!/usr/bin/env bash
# `make down`: stops the hob that `make up` started. Functions and secrets stay on disk.
set -u
cd "$(dirname "$0")/.."
pidfile=target/hob-up.pid
if [ ! -f "$pidfile" ]; then
    echo "make up has started no hob from this folder; nothing to stop"
    exit 0
fi
pid=$(cat "$pidfile")
if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != hob ]; then
    rm -f "$pidfile"
    echo "hob had stopped already"
    exit 0
fi
kill -TERM "$pid"
for _ in $(seq 150); do
    kill -0 "$pid" 2>/dev/null || { rm -f "$pidfile"; echo "hob stopped"; exit 0; }
    sleep 0.1
done
echo "make down: hob (pid $pid) has not stopped within 15 s; end it with: kill -9 $pid" >&2
exit 1
