#!/usr/bin/env bash
# Says what to type where there is no Go toolchain that can build banger. Go 1.21
# and later fetch the version that go.mod names by themselves.
set -euo pipefail
want=$(awk '$1 == "go" { print $2 }' "$(dirname "$0")/../go.mod")
if ! command -v go >/dev/null 2>&1; then
	echo "make: Go is not installed; banger needs Go $want or newer." >&2
	echo "  try: install it as https://go.dev/doc/install describes, then: export PATH=\$PATH:/usr/local/go/bin" >&2
	exit 1
fi
if ! have=$(go env GOVERSION 2>&1); then
	echo "make: the go command does not work: $have" >&2
	exit 1
fi
have=${have#go}
if [ "$(printf '%s\n' "$want" "${have%% *}" | sort -V | head -n 1)" != "$want" ]; then
	echo "make: banger needs Go $want or newer; this is $have." >&2
	echo "  try: install it as https://go.dev/doc/install describes, or with Go 1.21 or newer: go env -w GOTOOLCHAIN=auto" >&2
	exit 1
fi
