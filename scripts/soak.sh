#!/usr/bin/env bash
# `make soak`: builds hob for real use and runs it through its faults; bench/README.md says what that is.
#   HOB_BIN=PATH       run this hob; default: a release build
#   HOB_SOAK_ARGS=…    --only calls, --only state, --form short, --seed NUMBER
set -eu
cd "$(dirname "$0")/.."
fail() { echo "make soak: $*" >&2; exit 1; }

command -v cargo >/dev/null || fail "no cargo: install Rust 1.95 or newer (rustup), then try again"
scripts/need.sh cc:build-essential python3:python3 node:nodejs go:golang-go || fail "cannot run without these"

target=${CARGO_TARGET_DIR:-target}
cargo build --release --quiet -p hob-soak || fail "it does not build"
if [ -z "${HOB_BIN:-}" ]; then
    cargo build --release --quiet -p hob || fail "hob does not build"
    HOB_BIN=$target/release/hob
fi
# In place of this shell: a Ctrl-C reaches who has to clean up, and make waits for that.
# shellcheck disable=SC2086
exec "$target/release/hob-soak" --hob "$HOB_BIN" --out "$target/soak" ${HOB_SOAK_ARGS:-}
