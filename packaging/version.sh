#!/bin/sh
# Prints the version of this source tree, which packages compare as it should be:
#
#	2.0.0                                   the tag v2.0.0
#	2.0.0+5.g0123456789ab                   5 commits after it
#	2.0.0~git20260102030405.0123456789ab    before it, made at that time
#	2.0.0~devel                             neither git nor a source archive
#
# With --commit, the commit that it is of, or "unknown".
#
# The Python program of the same name has 1.2.0 and lower.
set -eu
cd "$(dirname "$0")/.."
if [ "${1-}" = --commit ]; then
	if [ -f COMMIT ]; then # a source archive
		cat COMMIT
	elif [ ! -e .git ] || ! git rev-parse -q --verify HEAD 2>/dev/null; then
		echo unknown
	fi
	exit
fi
next=2.0.0 # the release that is worked on, until it has a tag

if [ -f VERSION ]; then # a source archive
	cat VERSION
elif [ ! -e .git ]; then
	echo "$next~devel"
elif version=$(git describe --tags --match 'v[0-9]*' --abbrev=12 --dirty 2>/dev/null); then
	echo "$version" | sed 's/^v//; s/-\([0-9]*\)-g/+\1.g/; s/-dirty$/+dirty/'
elif version=$(git log -1 --format=%cd.%h --date=format:%Y%m%d%H%M%S --abbrev=12 2>/dev/null); then
	git diff --quiet HEAD || version=$version+dirty
	echo "$next~git$version"
else
	echo "$next~devel"
fi
