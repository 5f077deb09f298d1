#!/usr/bin/env bash
# hydra.sh FOLDER   tries, once a day, to build ORY Hydra into FOLDER, for the tests of `auth` against a
# real issuer. It takes some minutes the first time. Ends with 1 when it could not; where CI=true those
# tests then fail.
set -u
version=v2.3.0
# what Hydra itself replaces: replacements do not come along with a module
pop=github.com/ory/pop/v6@v6.2.1-0.20241121111754-e5dfc0f3344b
folder=$(mkdir -p "${1:?usage: hydra.sh FOLDER}" && cd "$1" && pwd) || exit 1
command -v hydra >/dev/null 2>&1 || [ -x "$folder/hydra" ] && exit 0
tried=$folder/tried # so that an unreachable network is waited for once a day only
[ -n "$(find "$tried" -mtime -1 2>/dev/null)" ] && exit 1
touch "$tried"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
build() {
    go mod init hydra && go mod edit "-replace=github.com/gobuffalo/pop/v6=$pop" &&
        timeout 300 go get -tool "github.com/ory/hydra/v2@$version" &&
        CGO_ENABLED=1 timeout 1500 go build -mod=mod -p 2 -trimpath -ldflags '-s -w' \
            -tags sqlite,sqlite_omit_load_extension -o hydra-built github.com/ory/hydra/v2
}
if ! build >log 2>&1; then
    tail -n 3 log >&2
    exit 1
fi
mv hydra-built "$folder/hydra"
