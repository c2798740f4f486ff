#!/usr/bin/env bash
# Linters beyond go vet, at fixed versions, which the Go tool builds once and keeps.
# .golangci.yml says which golangci-lint runs, staticcheck among them. The vulnerability
# scan needs its database from the network: if it cannot get it, it says so and goes on.
set -euo pipefail
golangci=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.9.0

go run "$golangci" run ./... ./tools/...
out=$(go run "$govulncheck" ./... ./tools/... 2>&1) && status=0 || status=$?
if [ "$status" = 0 ]; then
	echo "lint: no known vulnerabilities"
elif why=$(grep -m 1 -E 'fetching vulnerabilities|dial tcp|no such host' <<<"$out"); then
	echo "lint: NOT RUN: govulncheck could not have its database here: $why"
else
	printf '%s\n' "$out" >&2
	exit 1
fi
