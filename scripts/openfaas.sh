#!/usr/bin/env bash
# openfaas.sh FOLDER   tries, once a day, to get OpenFaaS's own programs and libraries into FOLDER, for the
# tests that run them. Ends with 1 when it could not: those tests say so and are passed by.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mkdir -p "${1:?usage: openfaas.sh FOLDER}" && cd "$1" && pwd) || exit 1
# tags, which have no v: Go takes them as names of commits
faas_cli=0.18.12
of_watchdog=0.11.6
go_sdk=v0.3.0
python_sdk=ddae83b63291f06153e96d3b659faf7aba7221cc # no version has a tag
tried=$folder/tried # so that an unreachable network is waited for once a day only
lately=$(find "$tried" -mtime -1 2>/dev/null)
status=0

# has PROGRAM: it is there; or else it was tried lately
has() {
    command -v "$1" >/dev/null 2>&1 || [ -x "$folder/$1" ] && return 0
    [ -n "$lately" ] && status=1
}

# program NAME VERSION
program() {
    has "$1" && return
    GOBIN=$folder CGO_ENABLED=0 timeout 120 go install "github.com/openfaas/$1@$2" >/dev/null 2>&1 || status=1
}

# a program that goes through the library for Go
go_library() {
    has openfaas-go-sdk && return
    local work
    work=$(mktemp -d) || return
    cp "$here/crates/hob/tests/hob/openfaas/sdk/main.go" "$work"
    (cd "$work" && go mod init check && timeout 120 go get "github.com/openfaas/go-sdk@$go_sdk" && timeout 120 go mod tidy &&
        CGO_ENABLED=0 go build -o "$folder/openfaas-go-sdk" .) >/dev/null 2>&1 || status=1
    rm -rf "$work"
}

# Python that finds the library for Python
python_library() {
    has openfaas-python-sdk && return
    local library=$folder/python
    if timeout 120 python3 -m pip install --quiet --target "$library" \
        "git+https://github.com/openfaas/python-sdk.git@$python_sdk" >/dev/null 2>&1; then
        printf '#!/bin/sh\nPYTHONPATH=%s exec python3 "$@"\n' "$library" >"$folder/openfaas-python-sdk"
        chmod +x "$folder/openfaas-python-sdk"
    else
        status=1
    fi
}

if command -v go >/dev/null 2>&1; then
    program of-watchdog "$of_watchdog"
    program faas-cli "$faas_cli"
    go_library
else
    status=1
fi
python_library
[ -n "$lately" ] || touch "$tried"
exit $status
