#!/usr/bin/env bash
# Installs, upgrades, removes and purges a package in a Debian 12 of its own, made by debootstrap, and says what
# it saw. Needs root and debootstrap; about 400 MB are fetched into SANDBOX_DIR the first time.
#
#   try-deb.sh PACKAGE
set -euo pipefail

package=$(realpath "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sandbox_dir=${SANDBOX_DIR:-$here/../.sandbox}
base=$sandbox_dir/debian-12
work=$(mktemp -d)
root=$work/root
trap 'rm -rf "$work"' EXIT

die() { printf 'try-deb: %s\n' "$*" >&2; exit 1; }
in_root() { chroot "$root" env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
there() { [ -e "$root$1" ] || die "$2: $1 is missing"; }
gone() { [ ! -e "$root$1" ] || die "$2: $1 is still there"; }

[ "$(id -u)" = 0 ] || die "needs root"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
if [ ! -d "$base" ]; then
    rm -rf "$base.new"
    debootstrap --variant=minbase bookworm "$base.new" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >/dev/null
    mv "$base.new" "$base"
fi
cp -a "$base" "$root"

# The next version: the same files, and a configuration whose shipped text has changed.
dpkg-deb -R "$package" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
echo '# A later version says more.' >>"$work/next/etc/streamweir/config.toml"
dpkg-deb --root-owner-group -b "$work/next" "$root/next.deb" >/dev/null
cp "$package" "$root/this.deb"

in_root dpkg -i /this.deb >/dev/null
there /usr/bin/streamweir install
there /usr/lib/systemd/system/streamweir.service install
in_root getent passwd streamweir >/dev/null || die "install: there is no user streamweir"
[ "$(in_root stat -c '%U %a' /etc/streamweir/config.toml)" = 'root 640' ] || die "install: others may read config.toml"
in_root /usr/bin/streamweir --version
in_root setpriv --reuid streamweir --regid streamweir --init-groups \
    /usr/bin/streamweir check --config /etc/streamweir/config.toml || die "install: the shipped file is not valid for its user"
echo "installed: user, unit, configuration; the program runs and its user may read its file"

sed -i '$a # ours' "$root/etc/streamweir/config.toml"
in_root dpkg -i --force-confdef --force-confold /next.deb >/dev/null
in_root dpkg-query -W -f '${Version}\n' streamweir | grep -q '+next$' || die "upgrade: the version is the old one"
tail -1 "$root/etc/streamweir/config.toml" | grep -qx '# ours' || die "upgrade: config.toml was overwritten"
there /etc/streamweir/config.toml.dpkg-dist upgrade
in_root setpriv --reuid streamweir --regid streamweir --init-groups \
    /usr/bin/streamweir check --config /etc/streamweir/config.toml >/dev/null || die "upgrade: the file is not valid for its user"
echo "upgraded: the program is the new one, the configuration ours"

mkdir -p "$root/var/lib/streamweir"
touch "$root/var/lib/streamweir/snapshot"
in_root dpkg -r streamweir >/dev/null
gone /usr/bin/streamweir remove
there /etc/streamweir/config.toml remove
there /var/lib/streamweir/snapshot remove
echo "removed: configuration and state stay"

in_root dpkg -i /next.deb >/dev/null
there /usr/bin/streamweir "install again"
in_root dpkg -P streamweir >/dev/null
gone /etc/streamweir/config.toml purge
gone /var/lib/streamweir purge
! in_root getent passwd streamweir >/dev/null || die "purge: the user is still there"
echo "purged: configuration, state and user are gone"
