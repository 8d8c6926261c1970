#!/bin/sh
# Checks the source archive: that it is the same whoever makes it, builds
# without a network, and gives the same program wherever it is built.
set -eu
cd "$(dirname "$0")/.."

fail() {
	echo "test-dist: $*" >&2
	exit 1
}
# same FILE FILE
same() {
	cmp "$1" "$2" || fail "$1 and $2 should be the same"
}

tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
version=$(packaging/version.sh)
name=ostree-push-$version

echo "# The archive, and one from another clone."
packaging/dist.sh
git clone -q . "$tmp/clone"
(umask 077 && cd "$tmp/clone" && TZ=Asia/Tokyo LC_ALL=C packaging/dist.sh >/dev/null)
same "build/$name.tar.gz" "$tmp/clone/build/$name.tar.gz"

# without_network COMMAND...
without_network() {
	if [ "$(id -u)" = 0 ]; then unshare --net "$@"; else unshare --user --map-root-user --net "$@"; fi
}
without_network true || fail "this needs a network namespace"

# build SOURCE CACHE COMMAND... has the command run make, with a cache of its own, so
# that everything is compiled there, and with flags that name the directory, as
# packagers have them.
build() (
	cd "$1"
	export HOME="$2/home" GOCACHE="$2" GOTOOLCHAIN=local CGO_CFLAGS="-O2 -g -ffile-prefix-map=$1=."
	shift 2
	"$@" make -s build
)

echo "# Two builds of the archive, in different directories and without a network."
for dir in one another/that/is/longer; do
	mkdir -p "$tmp/$dir"
	tar -xf "build/$name.tar.gz" -C "$tmp/$dir"
	build "$tmp/$dir/$name" "$tmp/cache-${dir%%/*}" \
		without_network env GOFLAGS="-mod=vendor -buildmode=pie" GOPROXY=off
done
first=$tmp/one/$name second=$tmp/another/that/is/longer/$name
same "$first/build/ostree-push" "$second/build/ostree-push"

echo "# Two builds of the commit, in different directories."
git clone -q . "$tmp/another/clone"
GOMODCACHE=$(${GO:-go} env GOMODCACHE)
export GOMODCACHE
for dir in clone another/clone; do
	(cd "$tmp/$dir" && ${GO:-go} mod download)
	build "$tmp/$dir" "$tmp/cache-$(echo "$dir" | tr / -)" env GOPROXY=off
done
same "$tmp/clone/build/ostree-push" "$tmp/another/clone/build/ostree-push"
for page in "$tmp"/clone/build/man/*; do
	same "$page" "$second/build/man/${page##*/}"
done
if grep -q "$tmp" "$tmp/clone/build/ostree-push" "$first/build/ostree-push"; then
	fail "the program has the directory in it that it was built in"
fi

echo "# What is installed."
(cd "$first" && umask 077 && make -s install DESTDIR="$tmp/root" PREFIX=/usr)
bin=$tmp/root/usr/bin
for link in ostree-receive ostree-receive-0 ostree-receive-1 ostree-receive-shell; do
	[ "$(readlink "$bin/$link")" = ostree-push ] || fail "$link is no link to ostree-push"
done
for program in ostree-push ostree-receive; do
	"$bin/$program" --version >"$tmp/version"
	printf '%s\n' "$program $version" "commit $(git rev-parse HEAD)" "libostree $(pkg-config --modversion ostree-1)" |
		diff - "$tmp/version" || fail "wrong version of $program"
done
for page in man1/ostree-push.1 man1/ostree-receive.1 man1/ostree-receive-0.1 man1/ostree-receive-1.1 \
	man8/ostree-receive-shell.8 man5/ostree-receive.toml.5; do
	grep -q '^\.TH OSTREE-' "$tmp/root/usr/share/man/$page" || fail "no manual page $page"
done
for file in bash-completion/completions/ostree-push bash-completion/completions/ostree-receive \
	fish/vendor_completions.d/ostree-push.fish zsh/site-functions/_ostree-push; do
	[ -s "$tmp/root/usr/share/$file" ] || fail "no completion $file"
done
OSTREE_RECEIVE_CONF="$tmp/root/usr/share/doc/ostree-push/examples/ostree-receive.toml" \
	"$bin/ostree-receive" --print-config >/dev/null || fail "the installed example is no configuration"
private=$(find "$tmp/root/usr" ! -type l ! -perm -a=r)
[ -z "$private" ] || fail "not everybody can read $private"
(cd "$first" && make -s uninstall DESTDIR="$tmp/uninstalled" PREFIX=/usr) # where there is nothing
cp -a "$tmp/root" "$tmp/uninstalled"
(cd "$first" && make -s uninstall DESTDIR="$tmp/uninstalled" PREFIX=/usr)
left=$(find "$tmp/uninstalled" ! -type d)
[ -z "$left" ] || fail "uninstall leaves $left"
outside=$(find "$tmp/root" ! -type d ! -path "$tmp/root/usr/*")
[ -z "$outside" ] || fail "installed outside of PREFIX: $outside"

echo "# What packages say of the modules in it."
cd "$first"
modules=$(sed -n 's/^# \([^ ]*\) v[^ ]*$/\1/p' vendor/modules.txt)
[ -n "$modules" ] || fail "no modules in vendor/modules.txt"
for module in $modules; do
	grep -q "^\(Files:\|  *\) *vendor/$module/\*$" packaging/debian/copyright ||
		fail "packaging/debian/copyright lacks vendor/$module"
done
GOFLAGS=-mod=vendor ${GO:-go} list -deps -f '{{with .Module}}{{if .Version}}{{.Path}} {{.Version}}{{end}}{{end}}' . |
	sort -u >"$tmp/bundled"
[ -s "$tmp/bundled" ] || fail "no modules are compiled in"
sed -n 's/^Provides: *bundled(golang(\(.*\))) = \(.*\)$/\1 v\2/p' packaging/rpm/ostree-push.spec | sort >"$tmp/provided"
# A version of rpm has no dash.
tr - '~' <"$tmp/bundled" >"$tmp/bundled-versions"
tr - '~' <"$tmp/provided" | diff - "$tmp/bundled-versions" ||
	fail "packaging/rpm/ostree-push.spec should have other bundled modules (>)"
echo "All well."
