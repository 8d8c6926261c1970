#!/bin/sh
# Builds the rpm package from the source archive, into build/, and has rpmlint
# look at it if that is there. It is to be built on the distribution that it is
# for: elsewhere this only shows that the spec file is right.
set -eu
cd "$(dirname "$0")/.."
archive=${1:-$(packaging/dist.sh)}
name=$(basename "$archive" .tar.gz)
version=${name#ostree-push-}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/SOURCES" "$tmp/SPECS"
cp "$archive" "$tmp/SOURCES"
# The spec file has the release that is worked on.
spec=$tmp/SPECS/ostree-push.spec
sed "s/^\(Version: *\).*/\1$version/" packaging/rpm/ostree-push.spec >"$spec"

rpmspec -P "$spec" >/dev/null
# Where packages are not rpm's it does not know of what is installed.
nodeps=
rpm -q --quiet golang 2>/dev/null || nodeps=--nodeps
rpmbuild -ba $nodeps --define="_topdir $tmp" "$spec"
if command -v rpmlint >/dev/null; then
	rpmlint -c packaging/rpm/rpmlint.toml "$spec" "$tmp"/RPMS/*/*.rpm "$tmp"/SRPMS/*.rpm
fi
for file in "$tmp"/RPMS/*/*.rpm "$tmp"/SRPMS/*.rpm; do
	cp "$file" build/
	echo "build/${file##*/}"
done
