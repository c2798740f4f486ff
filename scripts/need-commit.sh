#!/usr/bin/env bash
# Refuses a checkout with changes: the figures in the documentation are those of a commit,
# which anybody can build and measure again.
set -euo pipefail
changes=$(git status --porcelain)
[ -n "$changes" ] || exit 0
echo "make: this checkout has changes, and figures for the documentation come from a commit:" >&2
echo "$changes" >&2
echo "  try: git commit, or write elsewhere: OUT=DIR" >&2
exit 1
