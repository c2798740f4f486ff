#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that banger needs and that are missing.
# Asks before it uses sudo, unless CI is set; root is not asked.
#   deps.sh run     to build banger and run guests
#   deps.sh test    and for the tests
set -euo pipefail
here=$(dirname "$0")

missing=()
need() { # program, package
	command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] || missing+=("$2")
}
case "$(uname -m)" in
x86_64) need qemu-system-x86_64 qemu-system-x86 ;;
*) echo "deps: this machine is $(uname -m); guests run on x86_64 hosts so far" >&2; exit 1 ;;
esac
need mmdebstrap mmdebstrap
need mke2fs e2fsprogs
need git git
need make make
[ "$(id -u)" = 0 ] || need newuidmap uidmap
# To fetch a Go toolchain.
if ! "$here/need-go.sh" check; then
	command -v wget >/dev/null 2>&1 || need curl curl
	need unzip unzip
	[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
fi
if [ "${1:?}" = test ]; then
	# The tests' smallest guest, and their check of our own disk files.
	need busybox busybox-static
	need qemu-img qemu-utils
	# The tests' compressed kernels and archives.
	need xz xz-utils
	# The clients that reach into the tests' guests.
	need ssh openssh-client
	need rsync rsync
	# The tests' message bus, which other users send to.
	[ "$(id -u)" != 0 ] || need dbus-daemon dbus
	# The tests' firewalls, each in a network namespace of its own.
	[ "$(id -u)" != 0 ] || need nft nftables
	# The tests' file system with reflinks, which only root can mount.
	[ "$(id -u)" != 0 ] || need mkfs.xfs xfsprogs
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "deps: missing: ${missing[*]} (names of Debian packages); install them with this system's package manager" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	sudo=sudo
	if ! command -v sudo >/dev/null 2>&1; then
		echo "deps: as root, type: apt-get install ${missing[*]}" >&2
		exit 1
	fi
	if [ -z "${CI:-}" ]; then
		answer=n # where there is no terminal to ask on
		if (: </dev/tty) 2>/dev/null; then
			read -r -p "Install ${missing[*]} with sudo apt-get? [Y/n] " answer </dev/tty || answer=n
		fi
		case "$answer" in
		"" | [Yy]*) ;;
		*) echo "deps: not installed; type: sudo apt-get install ${missing[*]}" >&2; exit 1 ;;
		esac
	fi
fi
echo "deps: installing ${missing[*]}" >&2
install="env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends" # sudo drops the environment
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $sudo apt-get update -q && $sudo $install "${missing[@]}"; } >"$log" 2>&1; then
	tail -n 15 "$log" >&2
	echo "deps: cannot install ${missing[*]}; the lines above say why" >&2
	exit 1
fi
