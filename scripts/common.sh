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

# The server that is run, its plugins, what makes its system tables, the headers that ours is built with, and where:
# the packaged ones, or those of scripts/debug-server where BLITZ_DEBUG_SERVER is set.
DEBUG_SERVER=$BUILD/debug-server
use_server() {
  if [ -n "${BLITZ_DEBUG_SERVER-}" ]; then
    MARIADBD=$DEBUG_SERVER/sbin/mariadbd
    SERVER_PLUGINS=$DEBUG_SERVER/plugins
    SYSTEM_TABLES=$DEBUG_SERVER/system-tables
    HEADERS=$DEBUG_SERVER/headers
    PLUGIN=$BUILD/debug-plugin/ha_blitzdb.so
  else
    MARIADBD=/usr/sbin/mariadbd
    SERVER_PLUGINS=/usr/lib/mysql/plugin
    SYSTEM_TABLES=/usr/share/mysql
    HEADERS=$BUILD/server
    PLUGIN=$BUILD/release/ha_blitzdb.so
  fi
}
use_server

say() { printf '%s: %s\n' "$SELF" "$*" >&2; }
die() { say "$*"; exit 1; }

# as_root COMMAND...: runs it as root, through sudo for a plain user.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif can_be_root; then
    sudo "$@"
  else
    die "this needs root: run scripts/$SELF once as root (wanted: $*)"
  fi
}
can_be_root() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

# usage: prints the comment block at the top of the calling script.
usage() { sed -n '2,/^[^#]/{/^# SPDX/d;s/^# \{0,1\}//p;}' "$0" | sed '1{/^$/d;}'; }

# build PRESET: configures and builds what is not up to date. Says so only if
# there was something to do, and shows the compiler's words if it fails.
build() {
  local dir=$BUILD/$1 log=$BUILD/$1.log rc=0 headers
  mkdir -p "$BUILD"
  # Without symbolic links: other headers have another name, and all is built anew.
  headers=$(readlink -f "$HEADERS")
  (
    flock 9
    [ -e "$dir/CMakeCache.txt" ] || say "building $1"
    cd "$ROOT"
    { cmake --preset "$1" -B "$dir" -DBLITZ_SERVER="$headers" &&
      cmake --build "$dir" --parallel "$JOBS"; } >"$log" 2>&1
  ) 9>"$dir.lock" || rc=$?
  if [ $rc != 0 ]; then
    tail -n 60 "$log" >&2
    say "the $1 build failed, see $log"
    return $rc
  fi
  if grep -q '^\[.*Linking' "$log"; then say "built $1"; fi
}

# Sees to it that the server and the plugin of use_server are there, and fit.
prepare_server() {
  "$ROOT/scripts/setup"
  if [ -n "${BLITZ_DEBUG_SERVER-}" ] && [ "$(cat "$DEBUG_SERVER/version" 2>/dev/null)" \
    != "$(installed_version mariadb-server-core)" ]; then
    die "there is no debug server of the installed version: run scripts/debug-server"
  fi
  check_fit
  build "$(basename "$(dirname "$PLUGIN")")"
}

# check_fit: a server loads only a plugin that was built with headers of its own version.
# Packages may be upgraded at any time, so it is asked again when a server failed.
check_fit() {
  local built runs
  built=$(sed -nE 's/^#define MYSQL_SERVER_VERSION\s+"([0-9.]+).*/\1/p' \
    "$HEADERS/generated/mysql_version.h")
  runs=$("$MARIADBD" --no-defaults --version | sed -nE 's/.* Ver ([0-9.]+).*/\1/p')
  [ "$built" = "$runs" ] ||
    die "the server is now $runs and refuses the plugin, which was built for $built:" \
      "run scripts/setup, which brings back a server that fits"
}

# installed_version PACKAGE: prints it; nothing if the package is not installed.
installed_version() { dpkg-query -W -f='${db:Status-Abbrev} ${Version}' "$1" 2>/dev/null |
  sed -n 's/^[ih]i *//p' || true; }
