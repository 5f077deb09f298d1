#!/usr/bin/env bash
# `make up`: from a clone to a called function.
set -u
cd "$(dirname "$0")/.."
fail() { echo "make up: $*" >&2; exit 1; }

listen=${HOB_LISTEN:-127.0.0.1:8080}
log=target/hob-up.log
pidfile=target/hob-up.pid

# === what hob itself needs ===
command -v cargo >/dev/null 2>&1 || fail "no cargo: install Rust 1.95 or newer (rustup), then try again"
scripts/need.sh cc:build-essential curl:curl || fail "a C compiler and curl are needed"

# === what the examples' languages need; an example without its toolchain is left out below ===
for tool in python3:python3 pip3:python3-pip node:nodejs npm:npm go:golang-go javac:default-jdk-headless; do
    scripts/need.sh "$tool" || true
done

echo "building hob (the first time takes some minutes)"
cargo build --release --quiet -p hob || fail "the build failed (see above)"

# === on PATH, so that the README's commands work as they stand ===
if [ "$(id -u)" -eq 0 ]; then bin=/usr/local/bin; else bin=$HOME/.local/bin; fi
mkdir -p "$bin" && install -m 0755 target/release/hob "$bin/hob.new" && mv -f "$bin/hob.new" "$bin/hob" ||
    fail "cannot write $bin/hob"
case ":$PATH:" in
*":$bin:"*) ;;
*) echo "note: $bin is not on your PATH; add it, or call $bin/hob" ;;
esac
hob=$bin/hob

# === start, unless it runs already ===
if "$hob" status >/dev/null 2>&1; then
    echo "hob runs already; deploying to it"
else
    # The admin password, which is shown only once, ends up in this log.
    rm -f "$log" && (umask 077 && : >"$log")
    nohup setsid "$hob" up --listen "$listen" >"$log" 2>&1 </dev/null &
    echo $! >"$pidfile"
    for _ in $(seq 100); do
        "$hob" status >/dev/null 2>&1 && break
        kill -0 "$(cat "$pidfile")" 2>/dev/null || break
        sleep 0.1
    done
    if ! "$hob" status >/dev/null 2>&1; then
        cat "$log" >&2
        rm -f "$pidfile"
        fail "hob did not start (its words are above); another address: HOB_LISTEN=127.0.0.1:8081 make up"
    fi
    cat "$log"
fi
url=$("$hob" status -o json | sed -n 's/.*"gateway": *"\([^"]*\)".*/\1/p')

# === the examples ===
left_out=()
for folder in examples/*/; do
    name=$(basename "$folder")
    printf 'deploying %-14s ' "$name"
    if words=$("$hob" deploy "$folder" 2>&1); then
        echo "$words" | tail -n 1
    else
        left_out+=("$name")
        echo "left out: $(echo "$words" | tail -n 1)"
    fi
done

# === call one ===
called=""
for name in hello-python hello-bash hello-node hello-static; do
    if answer=$(curl -fsS "$url/function/$name/" -d Dracula 2>/dev/null || curl -fsS "$url/function/$name/" 2>/dev/null); then
        called=$name
        break
    fi
done
[ -n "$called" ] || fail "no hello function answered; look at: $hob list"

echo
echo "$called says: $(echo "$answer" | head -n 1)"
[ "${#left_out[@]}" -eq 0 ] || echo "left out (reasons above): ${left_out[*]}"
cat <<WORDS

  $url/function/$called

Try next:
  hob list
  curl $url/function/covers -d '{"title":"Dracula","subtitle":"A tale","author":"Bram Stoker"}' -o cover.html
  hob new python hello && cd hello && hob deploy && curl $url/function/hello -d Dracula

Stop it with: make down
WORDS
