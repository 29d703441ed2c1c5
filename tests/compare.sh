#!/usr/bin/env bash
# Compares TURN servers: builds ours, installs the others where they are missing, and runs them in turns.
# Options are those of `compare-servers`, as in --rounds 3 --only single-packets; --help lists them.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

# program=Debian package; the last two are what turn-server needs to be built.
needed=(turnserver=coturn taskset=util-linux chrt=util-linux)
peer=$target/peers/bin/turn-server
[[ -x $peer ]] || needed+=(protoc=protobuf-compiler /usr/include/google/protobuf/empty.proto=libprotobuf-dev)
missing=()
for pair in "${needed[@]}"; do
  [[ -e ${pair%%=*} ]] || command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
if ((${#missing[@]})); then
  command -v apt-get >/dev/null || { echo "install these Debian packages or their like: ${missing[*]}" >&2; exit 1; }
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  # Servers are started by the comparison, not by their installation.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
[[ -x $peer ]] || cargo install --locked --version 4.1.5 turn-server --root "$target/peers"

cargo build --profile dist --workspace \
  --bin relayd --bin relayctl --bin plain-forwarder --bin compare-servers
exec "$target/dist/compare-servers" "$@"
