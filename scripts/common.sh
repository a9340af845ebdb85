# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What every script here shares: where things are, how to fail, how to become
# root and how to build. Sourced, never run.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=${BLITZ_BUILD:-$ROOT/build}
JOBS=$(nproc)
SELF=$(basename "$0")

say() { printf '%s: %s\n' "$SELF" "$*" >&2; }
die() { say "$*"; exit 1; }

# as_root COMMAND...: runs it as root, through sudo for a plain user.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif sudo -n true 2>/dev/null; then
    sudo "$@"
  else
    die "this needs root: run scripts/setup once as root (wanted: $*)"
  fi
}

# usage: prints the comment block at the top of the calling script.
usage() { sed -n '2,/^[^#]/{/^# SPDX/d;s/^# \{0,1\}//p;}' "$0" | sed '1{/^$/d;}'; }

# build PRESET: configures and builds what is not up to date. Says so only if
# there was something to do, and shows the compiler's words if it fails.
build() {
  local dir=$BUILD/$1 log=$BUILD/$1.log rc=0
  mkdir -p "$BUILD"
  (
    flock 9
    [ -e "$dir/CMakeCache.txt" ] || say "building $1"
    cd "$ROOT"
    { cmake --preset "$1" -B "$dir" -DBLITZ_SERVER="$BUILD/server" &&
      cmake --build "$dir" --parallel "$JOBS"; } >"$log" 2>&1
  ) 9>"$dir.lock" || rc=$?
  if [ $rc != 0 ]; then
    tail -n 60 "$log" >&2
    say "the $1 build failed, see $log"
    return $rc
  fi
  if grep -q '^\[.*Linking' "$log"; then say "built $1"; fi
}
