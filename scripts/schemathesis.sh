#!/usr/bin/env bash
# schemathesis.sh FOLDER   tries, once a day, to install schemathesis into FOLDER, for the test of the API
# from its OpenAPI document. Ends with 1 when it could not; where CI=true that test then fails.
set -u
version=4.32.5
folder=$(mkdir -p "${1:?usage: schemathesis.sh FOLDER}" && cd "$1" && pwd) || exit 1
command -v schemathesis >/dev/null 2>&1 || [ -x "$folder/schemathesis" ] && exit 0
tried=$folder/tried # so that an unreachable network is waited for once a day only
[ -n "$(find "$tried" -mtime -1 2>/dev/null)" ] && exit 1
touch "$tried"
timeout 300 python3 -m pip install --quiet --target "$folder/packages" "schemathesis==$version" >/dev/null 2>&1 || exit 1
cat >"$folder/schemathesis" <<PROGRAM
#!/bin/sh
PYTHONPATH="$folder/packages:\$PYTHONPATH" exec python3 -m schemathesis.cli "\$@"
PROGRAM
chmod +x "$folder/schemathesis"
