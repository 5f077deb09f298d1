#!/usr/bin/env bash
# need.sh PROGRAM:PACKAGE ...   installs the Debian packages of the programs that are not on PATH.
# Ends with 1 and one clear line when it cannot.
set -u
missing=()
for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair#*:}")
done
[ "${#missing[@]}" -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing: ${missing[*]} (Debian names). There is no apt-get here: install them your way and try again." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "missing: ${missing[*]}. Not root, so: sudo apt-get install ${missing[*]}   then try again." >&2
    exit 1
fi
echo "installing: ${missing[*]}"
log=$(mktemp)
# Some packages bring a service beside the program. The program is wanted alone: Debian's
# maintainer scripts ask this file before they start anything.
policy=/usr/sbin/policy-rc.d
own_policy=
trap 'rm -f "$log" ${own_policy:+"$own_policy"}' EXIT
trap 'exit 130' INT TERM
if [ ! -e "$policy" ]; then
    own_policy=$policy
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 0755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "apt-get could not install: ${missing[*]} (its last words are above)." >&2
    exit 1
fi
# And it must not come up with the next boot either.
if [ -d /run/systemd/system ]; then
    for package in "${missing[@]}"; do
        units=$(dpkg-query --listfiles "$package" | sed -n 's|.*/systemd/system/\([^/@]*\.service\)$|\1|p')
        [ -z "$units" ] || systemctl disable --quiet $units 2>/dev/null || true
    done
fi
