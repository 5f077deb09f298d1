#!/usr/bin/env bash
# openfaas.sh FOLDER   tries once to build OpenFaaS's own programs into FOLDER, for the tests that
# run them. Ends with 1 when it could not: those tests say so and are passed by.
set -u
folder=$(mkdir -p "${1:?usage: openfaas.sh FOLDER}" && cd "$1" && pwd) || exit 1
tried=$folder/tried # so that it waits for an unreachable network once only
command -v go >/dev/null 2>&1 || exit 1
status=0
for program in of-watchdog faas-cli; do
    command -v "$program" >/dev/null 2>&1 || [ -x "$folder/$program" ] && continue
    [ -e "$tried" ] && { status=1; continue; }
    GOBIN=$folder CGO_ENABLED=0 timeout 120 go install "github.com/openfaas/$program@latest" >/dev/null 2>&1 || status=1
done
touch "$tried"
exit $status
