#!/usr/bin/env bash
# Fuzzes each target for some seconds (default 600) on one core each, from the corpus in the repository, and
# keeps what reaches new code there. A finding stops it; tests/fuzz/artifacts holds the input.
#
# Files of the corpus with a name of their own are kept: they are stories of the server written by hand
# (tests/sim/src/script says how bytes become orders) and inputs that once were findings. The others are
# named by their hash, and replaced by as few as reach as much.
#
#   tests/fuzz.sh [SECONDS [TARGET...]]
set -euo pipefail
cd "$(dirname "$0")/fuzz"

seconds=${1:-600}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(codec framing channel_data token server)
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --version 0.13.2

# The sanitizers are switched on by unstable flags, which a stable compiler takes when told so.
export RUSTC_BOOTSTRAP=1
for target in "${targets[@]}"; do
  corpus=../sim/corpus/$target
  found=$(mktemp -d)
  cargo fuzz run "$target" "$found" "$corpus" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
  small=$(mktemp -d)
  find "$corpus" -type f -regextype posix-extended -not -regex '.*/[0-9a-f]{40}' -exec cp -t "$small" {} +
  cargo fuzz run "$target" "$small" "$found" "$corpus" -- -merge=1 -max_len=4096
  rm -rf "$corpus" "$found"
  mkdir "$corpus"
  mv "$small"/* "$corpus/"
  rmdir "$small"
done
