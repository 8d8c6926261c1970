#!/bin/sh
# Makes build/ostree-push-VERSION.tar.gz: the files of HEAD, the modules they need
# in vendor/, and the version. It depends on the commit alone: whoever makes it
# again gets the same bytes.
set -eu
cd "$(dirname "$0")/.."

if [ ! -e .git ]; then
	echo "A source archive is made from a git clone." >&2
	exit 1
fi
if ! git diff --quiet HEAD; then
	echo "Commit first: the archive would not have what was changed." >&2
	exit 1
fi
version=$(packaging/version.sh)
name=ostree-push-$version
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"

tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
mkdir -p build "$tmp/$name"
git archive HEAD | tar -x -C "$tmp/$name"
echo "$version" >"$tmp/$name/VERSION"
git rev-parse HEAD >"$tmp/$name/COMMIT"
(cd "$tmp/$name" && ${GO:-go} mod vendor)
tar -c -C "$tmp" --format=gnu --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
	--owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "$name" |
	gzip -9n >"$tmp/archive"
cp "$tmp/archive" "build/$name.tar.gz"
echo "build/$name.tar.gz"
