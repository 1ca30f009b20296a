#!/bin/sh
# Runs k8s-bootstrap from this checkout, built when it is missing or older than its sources, with the
# tokens file of this folder unless another is named.
set -eu

repo=$(dirname "$(dirname "$(readlink -f "$0")")")

# As cargo would have it: relative to the caller's folder.
target=${CARGO_TARGET_DIR:-$repo/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
binary=$target/release/k8s-bootstrap
# Marks when the last good build began: a source saved while it ran is newer.
stamp=$target/release/.k8s-bootstrap.stamp

is_stale() {
  [ -x "$binary" ] && [ -e "$stamp" ] || return 0
  for source in Cargo.toml Cargo.lock build.rs rust-toolchain.toml .cargo src; do
    [ -e "$repo/$source" ] || continue
    # Folders count as well: their time changes when a file goes.
    [ -z "$(find "$repo/$source" -newer "$stamp" | head -n 1)" ] || return 0
  done
  return 1
}

build() {
  if ! command -v cargo >/dev/null; then
    echo "k8s-bootstrap.sh: $binary must be built and there is no cargo on PATH: install Rust (https://rustup.rs)" >&2
    exit 127
  fi
  echo "k8s-bootstrap.sh: building $binary" >&2
  mkdir -p "$target/release"
  : >"$stamp.$$"
  # In the checkout, so that no cargo settings or toolchain of the caller's folder apply; without
  # CARGO_BUILD_TARGET, which would put the binary elsewhere.
  if ! (cd "$repo" && unset CARGO_BUILD_TARGET &&
    cargo build --release --locked --manifest-path "$repo/Cargo.toml" --target-dir "$target" --bin k8s-bootstrap) >&2; then
    rm -f "$stamp.$$"
    echo "k8s-bootstrap.sh: the build failed (see above); nothing was run" >&2
    exit 1
  fi
  mv "$stamp.$$" "$stamp"
}

if is_stale; then build; fi

# What hints call the program: it need not be on PATH.
export K8S_BOOTSTRAP_NAME="$0"

for argument; do
  case $argument in
    --) break ;;
    --tokens-file | --tokens-file=*) exec "$binary" "$@" ;;
  esac
done
exec "$binary" --tokens-file "$repo/local/.k8s-tokens" "$@"
