#!/usr/bin/env bash
# fuzz.sh SECONDS   runs every target of fuzz/ for so many seconds, installing what is missing.
# Ends with 1 when one of them found something; the input is then in fuzz/artifacts.
set -euo pipefail
seconds=${1:?usage: fuzz.sh SECONDS}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz.sh: SECONDS must be a whole number, not '$seconds'" >&2; exit 64; }
cd "$(dirname "$0")/../fuzz"
unset CARGO_TARGET_DIR # the sanitizer's build is one of its own

../scripts/need.sh cc:build-essential tar:tar gzip:gzip zstd:zstd setfattr:attr
if ! rustup toolchain list | grep -q '^nightly'; then
    rustup toolchain install nightly --profile minimal
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --locked
fi

# Layers to begin with. The first byte tells the target whether to mend checksums: "0" does.
seed() { # seed NAME: the layer is on stdin
    mkdir -p corpus/unpack
    local layer
    layer=$(mktemp)
    cat >"$layer"
    { printf 0 && cat "$layer"; } >"corpus/unpack/seed-$1"
    { printf 1 && cat "$layer"; } >"corpus/unpack/seed-$1-as-it-is"
    rm -f "$layer"
}
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
long=$(printf 'n%.0s' {1..120})
mkdir -p "$tree/a/b" "$tree/dev"
printf text >"$tree/a/file"
ln "$tree/a/file" "$tree/a/hard"
ln -s ../b "$tree/a/link"
touch "$tree/.wh.gone" "$tree/a/b/.wh..wh..opq" "$tree/a/$long"
mkfifo "$tree/a/fifo"
truncate -s 64K "$tree/a/sparse" && printf x >>"$tree/a/sparse"
setfattr -n user.mime -v text "$tree/a/file" 2>/dev/null || true
for format in v7 ustar gnu pax; do
    tar -C "$tree" --format=$format -c a/file a/hard a/link .wh.gone a/b | seed $format
done
tar -C "$tree" -c a/fifo | seed fifo
tar -C "$tree" --format=pax --xattrs -c a/file "a/$long" | seed xattr
tar -C "$tree" --format=gnu -c "a/$long" | seed long
tar -C "$tree" --format=gnu -Sc a/sparse | seed sparse-gnu
for version in 0.0 0.1 1.0; do
    tar -C "$tree" --format=pax --sparse-version=$version -Sc a/sparse | seed sparse-$version
done
tar -C "$tree" -c a/file | gzip | seed gzip
tar -C "$tree" -c a/file | zstd -q | seed zstd

# A manifest, an index and a configuration to begin with.
digest=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
mkdir -p corpus/manifest
printf '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"%s","size":3}]}\0{"architecture":"amd64","os":"linux","config":{"Cmd":["/a"]},"rootfs":{"type":"layers","diff_ids":["%s"]}}' $digest $digest $digest >corpus/manifest/seed-image
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":2,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}}]}' $digest >corpus/manifest/seed-index

# Each run makes a folder: in memory, where that can be.
[ -w /dev/shm ] && export TMPDIR=/dev/shm
cargo +nightly fuzz build
found=0
for target in $(cargo +nightly fuzz list); do
    echo "fuzzing $target for $seconds s"
    options=(-max_total_time="$seconds" -timeout=10 -max_len=16384 -print_final_stats=1)
    [ -f "$target.dict" ] && options+=(-dict="$target.dict")
    mkdir -p "corpus/$target"
    cargo +nightly fuzz run "$target" "corpus/$target" -- "${options[@]}" || found=1
done
exit $found
