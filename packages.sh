#!/bin/sh
# Installs the Debian packages that building (packages.sh build), testing
# (packages.sh test) or making packages (packages.sh packaging) needs and this
# machine lacks; asks for nothing if it lacks none. On other systems it says what is needed.
set -eu

packages="gcc libc6-dev pkg-config libostree-dev"
case "${1-}" in
build) ;;
test) packages="$packages git ostree flatpak openssh-client openssh-server
	gnupg rsync ostree-push curl util-linux procps strace man-db mandoc bash-completion zsh fish" ;;
packaging) packages="$packages dpkg-dev debhelper lintian git debootstrap rpm rpmlint" ;;
*)
	echo "usage: $0 build|test|packaging" >&2
	exit 2
	;;
esac

if ! command -v go >/dev/null; then
	echo "Go 1.24 or later is needed: https://go.dev/doc/install, or Debian's golang-go" >&2
	exit 1
fi

# What builds is enough, whatever it was installed from.
if [ "$1" = build ] && pkg-config --exists 'ostree-1 >= 2021.3' 2>/dev/null &&
	echo '#include <stdlib.h>' | ${CC:-gcc} -E - >/dev/null 2>&1; then
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	# Tests skip what is not there, and say so.
	[ "$1" = test ] && command -v ostree ssh sshd >/dev/null && exit 0
	echo "This system has no apt-get. Install what it calls these packages of Debian's:" >&2
	echo $packages >&2
	exit 1
fi

missing=
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "Installing$missing" >&2
sudo=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "Only root can do that, and there is no sudo. As root, run: apt-get install$missing" >&2
		exit 1
	fi
	sudo=sudo
fi
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
