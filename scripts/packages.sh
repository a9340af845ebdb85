# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Debian's packages and their sources, for scripts that install something. Sourced
# after common.sh, never run. Logs and what is downloaded go to $downloads.

downloads=$BUILD/download

# not_installed PACKAGE...: prints those that are not.
not_installed() {
  local p
  for p in "$@"; do
    [ -n "$(installed_version "$p")" ] || echo "$p"
  done
}

# Run apt with package lists of our own, deb-src lines only: the system's
# sources stay as they are.
source_apt() {
  local tool=$1
  shift
  "$tool" -o Dir::Etc::SourceList="$downloads/sources.list" -o Dir::Etc::SourceParts=- \
    -o Dir::State::Lists="$downloads/lists" -o Dir::Cache="$downloads/cache" \
    -o APT::Sandbox::User=root -o Debug::NoLocking=1 "$@"
}

# The archives that carry mariadb-server, as deb-src lines.
refresh_source_lists() {
  mkdir -p "$downloads/lists/partial" "$downloads/cache"
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg option=
  [ -e $keyring ] && option="[signed-by=$keyring] "
  apt-cache policy mariadb-server |
    sed -n "s|^ *[0-9]* \(http[^ ]*\) \([^ /]*\)/\([^ ]*\) .*|deb-src $option\1 \2 \3|p" |
    sort -u >"$downloads/sources.list"
  [ -s "$downloads/sources.list" ] ||
    die "apt knows no archive with mariadb-server: run apt-get update, and check /etc/apt"
  source_apt apt-get -q update >"$downloads/update.log" 2>&1 ||
    die "cannot read the archives' source lists: see $downloads/update.log"
}

# Downloads the source package of version $1; fails when it cannot be had.
download_source() {
  (cd "$downloads" && source_apt apt-get -q source --download-only "mariadb=$1") \
    >"$downloads/source.log" 2>&1
}

# Asks the archives what there is now, if it can.
refresh_packages() {
  mkdir -p "$downloads"
  can_be_root || return 0
  as_root apt-get -q update >"$downloads/apt-update.log" 2>&1 ||
    say "apt-get update failed, going on with the lists there are: see $downloads/apt-update.log"
}

# What apt is given to install packages, for install_packages and for a simulation.
apt_install=(apt-get install -q -y --no-install-recommends --allow-downgrades
  -o DPkg::Lock::Timeout=300)

# Installs packages without letting their scripts start a system service.
install_packages() {
  local policy=/usr/sbin/policy-rc.d made_policy=
  mkdir -p "$downloads"
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod +x $policy
    made_policy=1
  fi
  say "installing: $*"
  local rc=0
  as_root env DEBIAN_FRONTEND=noninteractive "${apt_install[@]}" "$@" \
    >"$downloads/install.log" 2>&1 || rc=$?
  [ -z "$made_policy" ] || as_root rm -f $policy
  [ $rc = 0 ] || { tail -n 20 "$downloads/install.log" >&2
    die "apt-get install failed: see $downloads/install.log"; }
}

# install_others PACKAGE...: installs those that are missing, unless that would
# change a package of MariaDB: all of these are of the version that scripts/setup
# chose.
install_others() {
  local missing changed
  missing=$(not_installed "$@")
  [ -n "$missing" ] || return 0
  refresh_packages
  # shellcheck disable=SC2086 # a list of words
  changed=$("${apt_install[@]}" --simulate $missing |
    sed -nE 's/^(Inst|Remv) ((lib)?mariadb[^ ]*) .*/\2/p')
  [ -z "$changed" ] || die "installing" $missing "would change" $changed "too"
  # shellcheck disable=SC2086
  install_packages $missing
}
