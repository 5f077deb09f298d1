#!/usr/bin/env bash
# Fails when a hello example is not what `hob new` writes, or an example is not in calls.toml.
# `check.sh --copy` copies the templates anew.
set -u
cd "$(dirname "$0")"
wrong=0
for language in python node go rust java bash static; do
    starter=../templates/$language/function example=hello-$language
    if [ "${1:-}" = --copy ]; then
        rm -rf "$example" && cp -R "$starter" "$example" || wrong=1
    fi
    # -x: what a compiler or interpreter leaves behind
    if ! diff -r -x __pycache__ -x target -x node_modules "$starter" "$example"; then
        echo "$example differs from templates/$language/function: run examples/check.sh --copy" >&2
        wrong=1
    fi
done
for folder in */; do
    if ! grep -qx "name = \"${folder%/}\"" calls.toml; then
        echo "calls.toml has no call of ${folder%/}" >&2
        wrong=1
    fi
done
exit "$wrong"
