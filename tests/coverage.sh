#!/usr/bin/env bash
# Replays the corpora of the fuzzers and says which part of the lines of the protocol core they reach, file by
# file. Fails where they reach less of the server's state machine than LEAST percent. Built apart from everything
# else, in target/coverage; takes a few minutes, so it is no part of tests/run.sh.
#
#   tests/coverage.sh             the figures
#   tests/coverage.sh --missing   and the lines that were not reached
set -euo pipefail
cd "$(dirname "$0")/.."

readonly LEAST=90
# What a request, a packet or a moment passes through; not the codec and the framing, which have fuzzers of their own.
readonly MACHINE='relay/proto/src/(server|allocation|auth|policy)/'

command -v jq >/dev/null || { echo "this needs jq" >&2; exit 1; }
tools=$(rustc --print target-libdir)/../bin
[[ -x $tools/llvm-cov ]] || rustup component add llvm-tools

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/coverage CARGO_INCREMENTAL=1
counts=$(mktemp -d)
trap 'rm -rf "$counts"' EXIT
export LLVM_PROFILE_FILE=$counts/%p-%m.profraw RUSTFLAGS="-C instrument-coverage"

program=$(cargo test -p turn-sim --test corpus --no-run --message-format=json |
  jq -r 'select(.reason == "compiler-artifact" and .target.name == "corpus").executable // empty')
rm -f "$counts"/*
"$program" corpus
"$tools/llvm-profdata" merge -sparse "$counts"/*.profraw -o "$counts/all.profdata"

where=("$program" -instr-profile="$counts/all.profdata" -sources relay/proto/src)
"$tools/llvm-cov" export "${where[@]}" -summary-only 2>/dev/null |
  jq -r --arg here "$PWD/" '.data[0].files[] | .summary.lines as $l
    | [(.filename | ltrimstr($here)), $l.count, $l.covered] | @tsv' >"$counts/files"
awk '{ printf "%6.1f %% %5d of %4d  %s\n", $2 ? 100 * $3 / $2 : 100, $3, $2, $1 }' "$counts/files"

if [[ ${1:-} == --missing ]]; then
  "$tools/llvm-cov" show "${where[@]}" -use-color=false 2>/dev/null |
    awk '/^\/.*:$/ { file = $0; next } /^ *[0-9]+\| *0\|/ { if (file) print file; file = ""; print }'
fi

awk -v machine="$MACHINE" -v least="$LEAST" '
  { all += $2; reached += $3 }
  $1 ~ machine { lines += $2; covered += $3 }
  END {
    if (!lines) { print "nothing was measured" > "/dev/stderr"; exit 1 }
    part = 100 * covered / lines
    printf "protocol core: %.1f %% of %d lines\n", 100 * reached / all, all
    printf "server state machine: %.1f %% of %d lines, at least %d %%\n", part, lines, least
    exit part < least
  }' "$counts/files"
