#!/usr/bin/env bash
# Makes sure that there is a Go toolchain that can build banger: go.mod names the oldest one.
#   need-go.sh check     only reports whether there is one
#   need-go.sh DIR       if there is none, offers to fetch the one of scripts/go-toolchain into DIR,
#                        where the Makefile looks first; CI and root are not asked
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
want=$(awk '$1 == "go" { print $2 }' "$here/../go.mod")

# problem sets `why`, unless the go command can build banger. Go 1.21 and later fetch the version
# that go.mod names themselves, if they may.
problem() {
	local have
	why=
	if ! command -v go >/dev/null 2>&1; then
		why="Go is not installed"
	elif ! have=$(cd "$here/.." && go env GOVERSION 2>&1); then
		why="the go command does not work: $have"
	else
		have=${have#go}
		have=${have%% *}
		[ "$(printf '%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ] || why="this is Go $have"
	fi
	[ -n "$why" ]
}

give_up() {
	echo "make: banger needs Go $want or newer, and $1" >&2
	echo "  try: make in a terminal, which offers to download it (CI=1 make does not ask); or install it as https://go.dev/doc/install describes, then: export PATH=\$PATH:/usr/local/go/bin" >&2
	exit 1
}

# ask returns whether the toolchain may be fetched.
ask() {
	local answer=n # without a terminal
	[ "$(id -u)" != 0 ] && [ -z "${CI:-}" ] || return 0
	if (: </dev/tty) 2>/dev/null; then
		read -r -p "banger needs Go $want, and $why. Download Go $version (70 MB) into $dir? [Y/n] " answer </dev/tty || answer=n
	fi
	case "$answer" in
	"" | [Yy]*) ;;
	*) return 1 ;;
	esac
}

# download fetches a URL into a file.
download() {
	if command -v curl >/dev/null; then
		curl --fail --silent --show-error --location --max-time 900 --max-filesize 500M --output "$2" "$1"
	elif command -v wget >/dev/null; then
		timeout 900 wget --quiet --output-document="$2" "$1"
	else
		echo "neither curl nor wget is installed" >&2
		return 1
	fi
}

# unpack makes a GOROOT of the module's zip, as the go command does (cmd/go/internal/toolchain):
# such a zip has no permissions, and no files named go.mod below its top.
unpack() {
	unzip -q "$1" -d "$2"
	mv "$2/golang.org/toolchain@v0.0.1-go$version.linux-$arch" "$2/go"
	chmod -R +x "$2/go/bin" "$2/go/pkg/tool"
	find "$2/go" -name _go.mod -execdir mv {} go.mod \;
}

case "$(uname -m)" in
x86_64) arch=amd64 ;;
*) arch=$(uname -m) ;;
esac
if [ "${1:?}" = check ]; then
	! problem
	exit
fi
problem || exit 0
dir=$1
read -r version digest < <(awk -v arch="$arch" '$2 == arch { print $1, $3 }' "$here/go-toolchain") ||
	give_up "$why; there is no toolchain for $arch to fetch"
ask || give_up "$why"

# The first proxy of GOPROXY, if that is set; else Go's own, for this module.
source=${GOPROXY:-}
source=${source%%[,|]*}
case "$source" in
http://* | https://*) ;;
*) source=https://go.dev/dl/mod ;;
esac
mkdir -p "$(dirname "$dir")"
staging=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$staging"' EXIT
trap 'exit 130' INT TERM
echo "make: fetching Go $version into $dir" >&2
download "${source%/}/golang.org/toolchain/@v/v0.0.1-go$version.linux-$arch.zip" "$staging/zip" ||
	give_up "Go $version cannot be downloaded (the line above says why)"
echo "$digest  $staging/zip" | sha256sum --check --status ||
	give_up "what was downloaded as Go $version has another SHA-256 than scripts/go-toolchain says; it was removed"
unpack "$staging/zip" "$staging" || give_up "Go $version cannot be unpacked (the line above says why)"
# Another make may have been faster.
mv --no-target-directory "$staging/go" "$dir" 2>/dev/null || [ -x "$dir/bin/go" ] ||
	give_up "Go $version cannot be put in $dir"
