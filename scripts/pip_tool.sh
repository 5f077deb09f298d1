#!/usr/bin/env bash
# pip_tool.sh FOLDER PROGRAM VERSION MODULE   tries, once a day, to install a Python program into FOLDER, for a
# test. Ends with 1 when it could not; where CI=true that test then fails.
set -u
folder=$(mkdir -p "${1:?usage: pip_tool.sh FOLDER PROGRAM VERSION MODULE}" && cd "$1" && pwd) || exit 1
program=$2 version=$3 module=$4
command -v "$program" >/dev/null 2>&1 || [ -x "$folder/$program" ] && exit 0
tried=$folder/tried # so that an unreachable network is waited for once a day only
[ -n "$(find "$tried" -mtime -1 2>/dev/null)" ] && exit 1
touch "$tried"
timeout 300 python3 -m pip install --quiet --target "$folder/packages" "$program==$version" >/dev/null 2>&1 || exit 1
cat >"$folder/$program" <<PROGRAM
#!/bin/sh
PYTHONPATH="$folder/packages:\$PYTHONPATH" exec python3 -m $module "\$@"
PROGRAM
chmod +x "$folder/$program"
