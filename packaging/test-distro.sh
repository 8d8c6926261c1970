#!/bin/bash
# Builds the Debian package in a release of Debian and installs it there, from
# nothing: makes a clean system, pushes to an account whose login shell is
# ostree-receive-shell over the system's own sshd, upgrades from the Python
# program, and purges the package, after which nothing of it may be left.
#
#	packaging/test-distro.sh [--tests] SUITE        bookworm, trixie, ...
#
# With --tests, all tests are run there as well. Where Debian's Go is too old, the
# one of this machine builds the package. MIRROR is Debian's mirror, by default
# that of this machine. In the directory CACHE, if set, the clean system is
# kept for the next time. It needs root, for debootstrap and mounts.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
	echo "test-distro: $*" >&2
	exit 1
}
step() { printf '\n# %s\n' "$*"; }

tests=
if [ "${1-}" = --tests ]; then
	tests=yes
	shift
fi
[ $# = 1 ] || fail "usage: $0 [--tests] SUITE"
suite=$1
[ "$(id -u)" = 0 ] || fail "only root can make a Debian system"

MIRROR=${MIRROR-$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
	sed -n 's/^Debian Debian //p' | head -n 1)}
[ -n "$MIRROR" ] || fail "this machine's apt has no mirror of Debian: set MIRROR"
eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
[ -z "${http_proxy-}" ] || export http_proxy

tmp=$(mktemp -d)
trap 'rm -rf --one-file-system "$tmp"' EXIT
chmod 755 "$tmp"

# within ROOT COMMAND... runs a command in the system below ROOT, and ends all
# that it has started. Mounts are in a namespace of their own; the root is
# changed by pivot_root, since chroot would forbid user namespaces.
# offline ROOT COMMAND... does so without a network but loopback.
namespaces="--mount --pid --fork --kill-child"
within() {
	env -i PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive ${http_proxy+http_proxy="$http_proxy"} \
		unshare $namespaces sh -ec '
			root=$1
			shift
			mount --bind "$root" "$root"
			cd "$root"
			mount -t proc proc proc
			mount --rbind /sys sys
			mount --rbind /dev dev
			mount -t tmpfs tmpfs run
			pivot_root . .
			umount -l .
			cd /
			if [ "$0" = offline ]; then ip link set lo up; fi
			exec "$@"' "${mode-online}" "$@"
}
offline() {
	local mode=offline namespaces="$namespaces --net"
	within "$@"
}
install() { # ROOT PACKAGE...
	local root=$1
	shift
	within "$root" apt-get install -qq -y --no-install-recommends "$@" >"$tmp/apt.log" 2>&1 ||
		{ cat "$tmp/apt.log" >&2; fail "cannot install $*"; }
}

step "A clean $suite"
system=$tmp/system
cached=${CACHE:+$CACHE/$suite.tar}
mkdir "$system"
if [ -n "$cached" ] && [ -f "$cached" ]; then
	tar -xpf "$cached" -C "$system" --numeric-owner
else
	debootstrap --variant=minbase --include=iproute2 "$suite" "$system" "$MIRROR" >"$tmp/debootstrap.log" 2>&1 ||
		{ tail -n 20 "$tmp/debootstrap.log" >&2; fail "debootstrap failed"; }
	# Nothing starts by itself.
	printf '#!/bin/sh\nexit 101\n' >"$system/usr/sbin/policy-rc.d"
	chmod +x "$system/usr/sbin/policy-rc.d"
	if [ -n "$cached" ]; then
		mkdir -p "$CACHE"
		tar -cpf "$cached.new" -C "$system" --numeric-owner .
		mv "$cached.new" "$cached"
	fi
fi
cat "$system/etc/debian_version"
# What an installed system has, and netbase would leave behind.
[ -e "$system/etc/hosts" ] || echo "127.0.0.1 localhost" >"$system/etc/hosts"
within "$system" apt-get update -qq

step "The package is built, without a network, by an ordinary user"
archive=$(packaging/dist.sh | tail -n 1)
name=$(basename "$archive" .tar.gz)
version=${name#ostree-push-}
build=$tmp/build
cp -a "$system" "$build"
install "$build" adduser dpkg-dev
within "$build" useradd --create-home --shell /bin/sh builder
cp "$archive" "$build/home/builder"
tar -xf "$archive" -C "$build/home/builder"
# apt-get build-dep wants it where dpkg-buildpackage does.
cp -r "$build/home/builder/$name/packaging/debian" "$build/home/builder/$name/debian"
within "$build" env DEB_BUILD_PROFILES=nocheck apt-get build-dep -qq -y --no-install-recommends "/home/builder/$name" >"$tmp/apt.log" 2>&1 ||
	{ cat "$tmp/apt.log" >&2; fail "cannot install what the build needs"; }
rm -r "$build/home/builder/$name/debian"
needed=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
goes() { within "$build" go env GOVERSION 2>/dev/null | sed 's/^go//'; }
if ! dpkg --compare-versions "$(goes)" ge "$needed"; then
	echo "Debian's Go is not there or too old: taking this machine's."
	cp -a "$(${GO:-go} env GOROOT)" "$build/usr/local/go"
fi
echo "Go $(goes)"
within "$build" chown -R builder: /home/builder
for n in 1 2; do
	offline "$build" runuser -u builder -- env GOTOOLCHAIN=local \
		"/home/builder/$name/packaging/deb.sh" "/home/builder/$name.tar.gz" "/home/builder/$n" >"$tmp/build.log" 2>&1 ||
		{ cat "$tmp/build.log" >&2; fail "the package cannot be built"; }
done
deb=$(cd "$build/home/builder/1" && echo ostree-push_*.deb)
cmp "$build/home/builder/"[12]"/$deb" || fail "two builds of the package are not the same"
echo "$deb"
within "$build" dpkg --info "/home/builder/1/$deb" | grep '^ Depends'

# What is used of newer libraries depends on the library that is there.
if within "$build" pkg-config --exists 'ostree-1 >= 2023.1'; then
	dpkg-deb --fsys-tarfile "$build/home/builder/1/$deb" | tar -xO ./usr/bin/ostree-push >"$tmp/program"
	grep -q ostree_repo_regenerate_metadata "$tmp/program" || fail "the program does not use what this libostree has"
fi

if [ -n "$tests" ]; then
	step "All tests"
	within "$build" "/home/builder/$name/packaging/packages.sh" test
	offline "$build" env -C "/home/builder/$name" make test ${TESTFLAGS+TESTFLAGS="$TESTFLAGS"}
fi

# files NAME lists all that is in the system, with the content of /etc. What apt
# and dpkg write in any case is left out: logs, caches, backups of databases.
files() {
	(
		cd "$system"
		find . -xdev \( -path ./tmp -o -path ./root -o -path ./var/cache -o -path ./var/log -o -path ./var/lib/apt \
			-o -path './var/lib/dpkg/*-old' -o -path './etc/*-' \) -prune -o -printf '%p %y %m %U:%G %l\n' | LC_ALL=C sort
		find ./etc -xdev -type f ! -name '*-' \
			-exec sha256sum {} + | LC_ALL=C sort -k 2
	) >"$tmp/files.$1"
}
# unchanged_since NAME SENTENCE
unchanged_since() {
	files now
	diff "$tmp/files.$1" "$tmp/files.now" || fail "$2"
	! grep -rIl --exclude='*-' ostree-receive "$system/etc" || fail "$2"
}
shells() { grep -c '^/usr/bin/ostree-receive-shell$' "$system/etc/shells" || true; }
packages() { within "$system" dpkg-query -W -f '${Package}\n' | LC_ALL=C sort; }
# purge NAME purges the package, with what came with it since packages.NAME.
purge() {
	packages >"$tmp/packages.now"
	within "$system" apt-get purge -qq -y $(LC_ALL=C comm -13 "$tmp/packages.$1" "$tmp/packages.now") >"$tmp/apt.log" 2>&1 ||
		{ cat "$tmp/apt.log" >&2; fail "cannot purge"; }
	! within "$system" dpkg-query -W ostree-push 2>/dev/null || fail "it is still there"
}
cp "$build/home/builder/1/$deb" "$system/tmp"

step "It is installed on a system that has nothing of what it needs"
files clean
packages >"$tmp/packages.clean"
[ "$(shells)" = 0 ]
install "$system" "/tmp/$deb"
[ "$(offline "$system" ostree-push --version | head -n 1)" = "ostree-push $version" ] || fail "it does not run"
within "$system" ostree-receive --version
[ "$(shells)" = 1 ] || fail "the shell is not in /etc/shells"
within "$system" dpkg --verify ostree-push
for file in man/man1/ostree-push.1.gz man/man1/ostree-receive-1.1.gz man/man5/ostree-receive.toml.5.gz \
	man/man8/ostree-receive-shell.8.gz bash-completion/completions/ostree-push zsh/vendor-completions/_ostree-push \
	fish/vendor_completions.d/ostree-push.fish doc/ostree-push/examples/ostree-receive.toml; do
	within "$system" test -s "/usr/share/$file" || fail "the package has no $file"
done
pages=$system/usr/share/doc/ostree-push
find "$pages" -name '*.md' >"$tmp/pages"
[ -s "$tmp/pages" ] || fail "the package has no pages"
while read -r page; do
	for link in $(grep -o '](\([^)#[:space:]]*\)' "$page" | sed 's/^](//' | grep -v ://); do
		[ -e "${page%/*}/$link" ] || fail "${page#"$pages/"} has a link to $link, which is not in the package"
	done
done <"$tmp/pages"
purge clean
[ "$(shells)" = 0 ] || fail "the shell is still in /etc/shells"
unchanged_since clean "something is left of the package"

step "It takes the place of the Python program, and is pushed to"
install "$system" openssh-server openssh-client ostree
files before
packages >"$tmp/packages.before"
install "$system" ostree-push
within "$system" ostree-push --version
[ -d "$system/usr/lib/python3/dist-packages/otpush" ] || fail "Debian's ostree-push is not the Python program"
install "$system" "/tmp/$deb"
[ ! -e "$system/usr/lib/python3/dist-packages/otpush" ] || fail "the Python program is still there"
[ "$(offline "$system" ostree-push --version | head -n 1)" = "ostree-push $version" ] || fail "it is not what runs now"
within "$system" apt-get -qq --simulate dist-upgrade | { ! grep ostree-push; } || fail "apt would replace it"
install "$system" --reinstall "/tmp/$deb"
[ "$(shells)" = 1 ] || fail "the shell is in /etc/shells $(shells) times"

cat >"$system/tmp/push" <<'END'
set -eux
mkdir /run/sshd

# As the README has it.
useradd --system --create-home --home-dir /srv/ostree --shell "$(command -v ostree-receive-shell)" ostree
usermod --password '*' ostree
chmod 755 /srv/ostree
install -d -o ostree -g ostree /srv/ostree/repo
as_ostree() { setpriv --reuid ostree --regid ostree --clear-groups "$@"; }
as_ostree ostree init --mode=archive --repo=/srv/ostree/repo

useradd --create-home --shell /bin/sh publisher
cat >/tmp/publish <<'EOS'
set -eux
cd
ostree init --repo=local --mode=archive
mkdir tree
push() {
	echo "$1" >tree/hello
	ostree commit --repo=local --branch=demo/stable --timestamp="$2" tree
	ostree-push --repo=local ostree@127.0.0.1:repo demo/stable
	[ "$(ostree --repo=/srv/ostree/repo cat demo/stable /hello)" = "$1" ]
}
push "Hello, world." "1 hour ago"
push "Hello again." "1 minute ago"

# refused TEXT COMMAND...
refused() {
	text=$1
	shift
	if output=$(ssh ostree@127.0.0.1 "$@" 2>&1 </dev/null); then exit 1; fi
	echo "$output" | grep "$text"
}
refused "Cannot run interactively"
refused "you have authenticated as ostree"
refused "Executing id not allowed" id
refused "Executing /bin/sh not allowed" /bin/sh
refused "Executing touch not allowed" "touch /srv/ostree/touched; ostree-receive --version"
[ ! -e /srv/ostree/touched ]
ssh ostree@127.0.0.1 ostree-receive --version
EOS
install -d -m 700 -o publisher -g publisher /home/publisher/.ssh
runuser -u publisher -- ssh-keygen -q -t ed25519 -N '' -f /home/publisher/.ssh/id_ed25519
echo "127.0.0.1 $(cat /etc/ssh/ssh_host_ed25519_key.pub)" >/home/publisher/.ssh/known_hosts
chown publisher: /home/publisher/.ssh/known_hosts
install -d -m 700 -o ostree -g ostree /srv/ostree/.ssh
echo "restrict $(cat /home/publisher/.ssh/id_ed25519.pub)" >/srv/ostree/.ssh/authorized_keys

# It writes its process ID when it listens.
/usr/sbin/sshd
for i in $(seq 200); do
	[ -s /run/sshd.pid ] && break
	sleep 0.05
done
runuser -u publisher -- env HOME=/home/publisher sh /tmp/publish

as_ostree ostree fsck --repo=/srv/ostree/repo
[ -z "$(find /srv/ostree/repo ! -user ostree)" ]
[ -z "$(find /srv/ostree/repo/tmp -name 'ostree-receive-*')" ]
kill "$(cat /run/sshd.pid)"
userdel --remove publisher
userdel --remove ostree
END
offline "$system" sh /tmp/push

step "It is purged"
purge before
[ "$(shells)" = 0 ] || fail "the shell is still in /etc/shells"
unchanged_since before "something is left of the package"
printf '\nAll well.\n'
