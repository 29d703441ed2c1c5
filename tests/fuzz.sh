#!/usr/bin/env bash
# Fuzzes each target for some seconds (default 600) on one core each, from the corpus in the repository, and
# keeps what reaches new code there. A finding stops it; tests/fuzz/artifacts holds the input.
#
#   tests/fuzz.sh [SECONDS [TARGET...]]
set -euo pipefail
cd "$(dirname "$0")/fuzz"

seconds=${1:-600}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(codec framing channel_data server)
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --version 0.13.2

# The sanitizers are switched on by unstable flags, which a stable compiler takes when told so.
export RUSTC_BOOTSTRAP=1
for target in "${targets[@]}"; do
  found=$(mktemp -d)
  cargo fuzz run "$target" "$found" "../sim/corpus/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
  # The smallest set of inputs that reaches as much.
  small=$(mktemp -d)
  cargo fuzz run "$target" "$small" "$found" "../sim/corpus/$target" -- -merge=1 -max_len=4096
  rm -rf "../sim/corpus/$target" "$found"
  mv "$small" "../sim/corpus/$target"
done
