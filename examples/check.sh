#!/usr/bin/env bash
# Fails when a hello example is not what `hob new` writes, or an example is not in calls.toml.
# `check.sh --copy` writes the hello examples anew.
set -u
cd "$(dirname "$0")"
expected=$(mktemp -d)
trap 'rm -rf "$expected"' EXIT
wrong=0
for language in python node go rust java bash static; do
    example=hello-$language
    cp -R "../templates/$language/function" "$expected/$example" || { wrong=1; continue; }
    find "$expected/$example" -type f -exec sed -i "s/{{function}}/$example/g" {} +
    if [ "${1:-}" = --copy ]; then
        rm -rf "$example" && cp -R "$expected/$example" "$example" || wrong=1
    fi
    # -x: what a compiler or interpreter leaves behind
    if ! diff -r -x __pycache__ -x target -x node_modules "$expected/$example" "$example"; then
        echo "$example is not what \`hob new $language\` writes: run examples/check.sh --copy" >&2
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
