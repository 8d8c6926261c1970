#!/bin/sh
# Builds the Debian package from a source archive, which is made if none is named,
# and has lintian look at it if that is there.
#
#	packaging/deb.sh [ARCHIVE [DIRECTORY]]
#
# The package goes to build/, or to DIRECTORY. The tests are left out.
set -eu
export DEB_BUILD_OPTIONS=nocheck DEB_BUILD_PROFILES=nocheck
cd "$(dirname "$0")/.."
archive=${1:-$(packaging/dist.sh)}
directory=${2:-build}
mkdir -p "$directory"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
tar -xf "$archive" -C "$tmp"
source=$(echo "$tmp"/ostree-push-*)
version=$(cat "$source/VERSION")
cp "$archive" "$tmp/ostree-push_$version.orig.tar.gz"
cp -r "$source/packaging/debian" "$source/debian"

# The changelog has the release that is worked on: this is a build of what there
# is of it so far.
released=$(dpkg-parsechangelog -l "$source/debian/changelog" -S Version)
date=$(TZ=UTC LC_ALL=C date -R -r "$source/VERSION")
for file in changelog NEWS; do
	sed -i -e "1s/($released)/($version-1)/" -e "0,/^ -- /s/^\( -- .*>  \).*/\1$date/" "$source/debian/$file"
done

(cd "$source" && dpkg-buildpackage -us -uc -b)
if command -v lintian >/dev/null; then
	lintian --allow-root --fail-on error "$tmp"/ostree-push_*.changes
fi
for file in "$tmp"/*.deb "$tmp"/*.buildinfo "$tmp"/*.changes; do
	cp "$file" "$directory"
	echo "$directory/${file##*/}"
done
