#!/usr/bin/env bash
# `make bench`: measures hob beside nginx and a direct call, prints the table and keeps it in
# bench/results. A missed bar is shown, not an error; it fails only when something could not run.
#   HOB_BIN=PATH         measure this hob; default: a release build
#   HOB_BENCH_ONLY=a,b   only these parts: throughput guards latency async wake images redeploy cage
#                        sandbox idle many
set -eu
cd "$(dirname "$0")/.."
fail() { echo "make bench: $*" >&2; exit 1; }

command -v cargo >/dev/null || fail "no cargo: install Rust 1.95 or newer (rustup), then try again"
# go: builds the tiny handler; bwrap and runc: other cages, to compare with
scripts/need.sh cc:build-essential python3:python3 go:golang-go wrk:wrk nginx:nginx-light bwrap:bubblewrap ||
    fail "cannot measure without these"
# ip and nft: the networks of images
scripts/need.sh runc:runc crun:crun ip:iproute2 nft:nftables || echo "make bench: going on without them"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/hob-bench.XXXXXX")
harness=
clean() {
    # The harness ends everything it started when it is told to; it is given the time for that.
    if [ -n "$harness" ]; then kill -TERM "$harness" 2>/dev/null && wait "$harness" || true; fi
    rm -rf "$scratch"
}
trap clean EXIT
trap 'exit 130' INT TERM

cargo build --release --quiet -p hob-bench-load || fail "the load generator does not build"
target=${CARGO_TARGET_DIR:-target}
if [ -z "${HOB_BIN:-}" ]; then
    cargo build --release --quiet -p hob || fail "hob does not build"
    HOB_BIN=$target/release/hob
fi
(cd bench/handler && GOTOOLCHAIN=local CGO_ENABLED=0 go build -trimpath -o "$scratch/handler" .) ||
    fail "the tiny handler does not build"
# Others measure the cage alone, since only the sandbox crate can make one without a server.
if [ -f crates/sandbox/examples/cage_cost.rs ]; then
    cargo build --release --quiet -p hob-sandbox --example cage_cost || fail "cage_cost does not build"
    export BENCH_CAGE_COST=$PWD/$target/release/examples/cage_cost
fi

# In the background, so that a signal reaches the trap above at once.
PYTHONPATH=bench PYTHONDONTWRITEBYTECODE=1 python3 -m harness --hob "$HOB_BIN" --load "$target/release/load" \
    --handler "$scratch/handler" --scratch "$scratch" &
harness=$!
status=0
wait "$harness" || status=$?
harness=
exit "$status"
