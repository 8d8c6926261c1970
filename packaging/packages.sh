#!/bin/sh
# Installs the Debian packages that one of these needs and this machine lacks; asks for
# nothing if it lacks none. On other systems it says what is needed.
#
#	packaging/packages.sh build       make
#	packaging/packages.sh test        make test, demo, bench
#	packaging/packages.sh deb         make deb
#	packaging/packages.sh rpm         make rpm
#	packaging/packages.sh distro      make test-deb, test-distro
set -eu

packages="ca-certificates gcc libc6-dev pkg-config libostree-dev zlib1g-dev"
case "${1-}" in
build) ;;
test) packages="$packages git ostree flatpak openssh-client openssh-server
	gnupg rsync ostree-push curl util-linux procps strace man-db mandoc bash-completion zsh fish" ;;
deb) packages="$packages build-essential debhelper lintian git" ;;
rpm) packages="$packages git rpm rpmlint" ;;
distro) packages="$packages git debootstrap util-linux" ;;
*)
	echo "usage: $0 build|test|deb|rpm|distro" >&2
	exit 2
	;;
esac

# The Go that is found must be one that can read go.mod. Newer ones fetch what they
# lack themselves when they are asked where go.mod is, unless they are told not to.
top=$(dirname "$0")/..
go=${GO:-go}
needed=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' "$top/go.mod")
go_error() {
	echo "Go $needed or later is needed, and $1: https://go.dev/doc/install, or golang-go of Debian 13 or later" >&2
	echo "(Debian 12's is older, and so is the one of its backports)" >&2
	exit 1
}
command -v "$go" >/dev/null || go_error "$go is not there"
version=$(cd "$top" && "$go" env GOVERSION 2>/dev/null) || version=$(cd / && "$go" env GOVERSION) || version=unknown
echo "${version#go} $needed" | awk '{
	split($1, have, /[^0-9]+/)
	split($2, need, ".")
	exit !(have[1] > need[1] || (have[1] == need[1] && have[2] >= need[2]))
}' || go_error "$(command -v "$go") is $version"

# What builds is enough, whatever it was installed from.
if [ "$1" = build ] && pkg-config --exists 'ostree-1 >= 2021.3' zlib 2>/dev/null &&
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
