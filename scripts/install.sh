#!/bin/sh
# Installs banger for one user, from a release's files at a URL or in a directory.
# Nothing is unpacked before its checksum is right, and an installation is
# switched to only when it is complete. Run it again to repeat it, or with another
# release to change to that.
#   sh install.sh [--from URL|DIRECTORY] [--version vX.Y.Z] [--prefix DIRECTORY]
set -eu

# A release writes these two lines (make release).
release_version=''
release_from=''

programs='banger bangerd bangerd-root banger-agent'
max_archive=268435456 # internal/update/release.MaxArchive

say() { printf 'install.sh: %s\n' "$1"; }

die() { # what failed, what to type
	printf 'install.sh: %s\n' "$1" >&2
	[ -z "${2:-}" ] || printf '  try: %s\n' "$2" >&2
	exit 1
}

usage() {
	cat <<'END'
Usage: sh install.sh [--from URL|DIRECTORY] [--version vX.Y.Z] [--prefix DIRECTORY]

  --from     where the release's files are: SHA256SUMS and the archives
  --version  the version that must be there (default: the one that is)
  --prefix   install below it (default: ~/.local; as root the programs are only
             unpacked, for `banger system install`)
END
}

parse() {
	version=$release_version from=$release_from prefix='' prefix_given=
	while [ $# -gt 0 ]; do
		case $1 in
		--help | -h) usage; exit 0 ;;
		--from=* | --version=* | --prefix=*) option=${1%%=*} value=${1#*=} ;;
		--from | --version | --prefix)
			[ $# -ge 2 ] || die "$1 needs a value" 'sh install.sh --help'
			option=$1 value=$2
			shift
			;;
		*) die "there is no option $1" 'sh install.sh --help' ;;
		esac
		shift
		[ -n "$value" ] || die "$option needs a value" 'sh install.sh --help'
		case $option in
		--from) from=${value%/} ;;
		--version) version=$value ;;
		--prefix) prefix=$value prefix_given=yes ;;
		esac
	done
	[ -n "$from" ] || die 'cannot install: --from is missing, the place of the release' 'sh install.sh --from https://… or --from DIRECTORY'
	check_source
}

# check_source refuses where a release may not come from. Plain HTTP is for this machine
# only; a name of a user before the host's would pass another host off as it.
check_source() {
	case $from in
	http://* | https://*) ;;
	*)
		[ -d "$from" ] || die "cannot install from $from: it is neither a URL nor a directory"
		return
		;;
	esac
	host=${from#*://}
	host=${host%%[/?#]*}
	case $host in
	*@* | *\\*) die "cannot install from $from: a release's address has no user name" 'the address without it' ;;
	esac
	case $from in https://*) return ;; esac
	case $host in
	127.0.0.1 | localhost | '[::1]') ;;
	127.0.0.1:* | localhost:* | '[::1]':*)
		case ${host##*:} in
		*[!0-9]*) die "cannot install from $from: its port is not a number" ;;
		esac
		;;
	*) die "cannot install from $from: nothing proves who answers there" 'the same address with https://' ;;
	esac
}

# check_owner refuses, as root, a place that somebody else can put a link into: what root
# writes would go where the link leads. If the directory does not exist yet, it is made in
# the first one above it that does.
check_owner() { # directory
	[ "$(id -u)" = 0 ] || return 0
	at=$1
	while [ -n "$at" ] && [ ! -d "$at" ]; do
		at=${at%/*}
	done
	at=${at:-/}
	at=$(cd -P "$at" && pwd -P) || die "cannot look at $1"
	while :; do
		# shellcheck disable=SC3067 # dash, busybox, bash and ksh have it
		[ -O "$at" ] || die "cannot install as root: $1 is in $at, which belongs to another user" \
			'run it as that user; or as root with --prefix, and HOME, of root: sudo -H sh install.sh …'
		[ "$at" != / ] || return 0
		at=${at%/*} at=${at:-/}
	done
}

# platform checks that banger runs on this machine, and that it has what this script needs.
platform() {
	[ "$(uname -s)" = Linux ] || die "cannot install: banger runs on Linux, and this is $(uname -s)"
	case $(uname -m) in
	x86_64 | amd64) arch=amd64 ;;
	aarch64 | arm64)
		arch=arm64
		say "note: guests run on x86-64 only so far: no VM starts on this machine"
		;;
	*) die "cannot install: there is no build of banger for $(uname -m)" ;;
	esac
	if command -v sha256sum >/dev/null 2>&1; then
		hash=sha256sum
	elif command -v shasum >/dev/null 2>&1; then
		hash='shasum -a 256'
	else
		die 'cannot verify a download: there is neither sha256sum nor shasum' 'sudo apt-get install coreutils'
	fi
}

# place decides where the programs go, and refuses before anything is fetched.
place() {
	system=
	if [ "$(id -u)" = 0 ] && [ -z "$prefix_given" ]; then
		system=yes
		lib=$(mktemp -d) || die 'cannot make a temporary directory'
		trap 'rm -rf "$lib"' EXIT
		work=$lib/work
		mkdir "$work"
		return
	fi
	if [ -z "$prefix_given" ]; then
		[ -n "${HOME:-}" ] || die 'cannot install: HOME is not set' 'sh install.sh --prefix DIRECTORY'
		prefix=$HOME/.local
	fi
	case $prefix in
	/*) ;;
	*) prefix=$PWD/$prefix ;;
	esac
	check_owner "$prefix"
	lib=$prefix/lib/banger command=$prefix/bin/banger helper=$prefix/bin/git-remote-banger
	for name in "$command" "$helper"; do
		if [ -e "$name" ] || [ -L "$name" ]; then
			[ "$(readlink "$name")" = ../lib/banger/current/banger ] ||
				die "cannot install the command $name: banger did not make the file that is there" "mv '$name' '$name.other'"
		fi
	done
	lock_updates
	mkdir -p "$lib/versions" "$prefix/bin" || die "cannot install below $prefix"
	# What a killed run left; a run that is not finished after an hour never will be.
	find "$lib/versions" -maxdepth 1 -name '.install-*' -mmin +60 -exec rm -rf {} +
	work=$(mktemp -d "$lib/versions/.install-XXXXXX") || die "cannot install below $prefix"
	trap clean_up EXIT
}

# clean_up removes what this run made. A run that ends between two moves restores what was
# there.
clean_up() {
	[ ! -e "$work/old" ] || [ -e "$dir" ] || mv "$work/old" "$dir"
	rm -rf "$work"
}

# lock_updates keeps updates and other installations out (internal/installlock), as an update
# removes versions that it does not know. If nothing is installed, nothing is updated.
lock_updates() {
	updates=''
	if [ -n "${BANGER_HOME:-}" ]; then
		updates=$BANGER_HOME/data/update
	elif [ -n "${XDG_DATA_HOME:-}" ]; then
		updates=$XDG_DATA_HOME/banger/update
	elif [ -n "${HOME:-}" ]; then
		updates=$HOME/.local/share/banger/update
	fi
	[ -n "$updates" ] && [ -L "$lib/current" ] || return 0
	case $updates in
	/*) ;;
	*) updates=$PWD/$updates ;;
	esac
	if command -v flock >/dev/null 2>&1; then
		check_owner "$updates"
		(umask 077 && mkdir -p "$updates") || die "cannot write in $updates"
		check_owner "$updates" # as it is now
		[ ! -L "$updates/lock" ] || die "cannot lock $updates/lock: it is a link" "rm '$updates/lock'"
		(umask 077 && : >>"$updates/lock") || die "cannot write in $updates"
		exec 9<>"$updates/lock"
		flock -n 9 || die 'cannot install: an update or another installation is already running' 'the same command in a minute'
		printf 'pid %s\nan installation\n' $$ >"$updates/lock"
	fi
	no_update
}

# no_update refuses to interfere with an update of these programs that has not ended.
no_update() {
	[ ! -e "$updates/journal.json" ] || [ ! -L "$lib/updating" ] ||
		die 'cannot install: an update has not ended' "$command update   # completes it, or rolls it back"
}

# fetch copies a file of the release into $work, whole or not at all.
fetch() {
	case $from in
	http://* | https://*) download "$from/$1" "$work/$1.part" || die "cannot download $from/$1" ;;
	*) cp "$from/$1" "$work/$1.part" || die "cannot read $from/$1" ;;
	esac
	mv "$work/$1.part" "$work/$1"
}

download() {
	scheme=${1%%:*}
	if command -v curl >/dev/null 2>&1; then
		curl --fail --silent --show-error --location --proto "=$scheme" --proto-redir "=$scheme" \
			--connect-timeout 30 --speed-limit 1000 --speed-time 60 --max-filesize "$max_archive" --output "$2" "$1"
	elif wget --version >/dev/null 2>&1; then # GNU wget
		wget --quiet --tries=2 --timeout=60 -O "$2" "$1"
	elif command -v wget >/dev/null 2>&1; then # busybox, whose -q with -T crashes in Debian 12
		# Without openssl it takes any certificate.
		[ "$scheme" = http ] || die 'cannot download: this wget may not verify certificates' 'sudo apt-get install curl'
		wget -q -O "$2" "$1"
	else
		die 'cannot download: there is neither curl nor wget' 'sudo apt-get install curl'
	fi
}

sha256() { # file
	sum=$($hash <"$1") || die "cannot read $1"
	printf '%s\n' "${sum%% *}"
}

# choose finds the one archive for this platform in SHA256SUMS, and its checksum.
choose() {
	fetch SHA256SUMS
	found=$(sed -n "s/^\([0-9a-f]\{64\}\)  banger_\(v[0-9][0-9A-Za-z.-]*\)_linux_$arch\.tar\.gz\$/\1 \2/p" "$work/SHA256SUMS")
	expected=${found%% *} there=${found#* }
	case $there in
	'') die "cannot install from $from: its SHA256SUMS names no archive for linux/$arch" ;;
	*[!0-9A-Za-z.-]*) die "cannot install from $from: its SHA256SUMS names more than one archive for linux/$arch" ;;
	esac
	[ -z "$version" ] || [ "$version" = "$there" ] || die "cannot install $version from $from: the release there is $there" "sh install.sh --from '$from' --version $there"
	version=$there archive=banger_${there}_linux_$arch.tar.gz
}

verify() {
	fetch "$archive"
	actual=$(sha256 "$work/$archive")
	[ "$actual" = "$expected" ] ||
		die "cannot install $archive: its SHA-256 is $actual, but SHA256SUMS says $expected: it was altered, or is incomplete. Nothing was installed" 'the same command again; if it fails again, tell whoever published the release'
}

# unpack takes the four programs out of the verified archive and starts one.
unpack() {
	new=$work/new
	mkdir "$new"
	# shellcheck disable=SC2086 # it is a list
	tar -xzf "$work/$archive" -C "$new" $programs || die "cannot unpack $archive"
	for p in $programs; do
		[ -f "$new/$p" ] && [ ! -L "$new/$p" ] || die "cannot install $archive: $p is not a program"
		chmod 755 "$new/$p"
	done
	chmod 755 "$new"
	reported=$("$new/banger" version 9>&-) || die "cannot install: the new banger does not run here"
	case " $reported " in
	*" $version "*) ;;
	*) die "cannot install $archive: the banger in it reports version: $reported" ;;
	esac
}

same() {
	for p in $programs; do
		cmp -s "$1/$p" "$2/$p" || return 1
	done
}

# switch_to puts the version in its place, and then the links, each in one step; before
# that the programs are on the disk, so that a loss of power leaves no link to half of one.
switch_to() {
	no_update # without flock one may have begun meanwhile
	flush
	dir=$lib/versions/$version
	previous=$(readlink "$lib/current" || true)
	if ! same "$new" "$dir"; then
		# Programs that run keep the files that they have open.
		[ ! -e "$dir" ] || mv "$dir" "$work/old"
		mv "$new" "$dir" || die "cannot install into $dir"
	fi
	relink "versions/$version" "$lib/current"
	relink ../lib/banger/current/banger "$command"
	relink ../lib/banger/current/banger "$helper" # git's name for it (gitremote-helpers(7))
	flush
}

# flush waits until what was written below $lib is on the disk, or everything is.
flush() { sync -f "$lib" 2>/dev/null || sync; }

relink() { # target, link
	rm -f "$work/link"
	ln -s "$1" "$work/link"
	mv -f -T "$work/link" "$2" || die "cannot make the link $2"
}

report() {
	if [ -n "$system" ]; then
		mv "$new" "$lib/banger-$version"
		rm -rf "$work"
		trap - EXIT
		say "banger $version is unpacked in $lib/banger-$version; nothing is installed yet"
		say "next: $lib/banger-$version/banger system install --owner USER"
		return
	fi
	say "banger $version is installed: $command"
	case :${PATH:-}: in
	*":$prefix/bin:"*) ;;
	*) say "$prefix/bin is not on PATH; add to ~/.profile: export PATH=\"$prefix/bin:\$PATH\"" ;;
	esac
	[ -z "$previous" ] || [ "$previous" = "versions/$version" ] ||
		say "a running daemon of ${previous#versions/} continues until you type: banger daemon stop"
}

# The shell reads the whole script before it calls main: of half a script nothing runs.
main() {
	parse "$@"
	platform
	place
	trap 'exit 1' HUP INT TERM
	say "reading what is at $from"
	choose
	say "fetching $archive"
	verify
	unpack
	[ -n "$system" ] || switch_to
	report
}

main "$@"
