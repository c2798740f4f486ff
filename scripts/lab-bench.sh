#!/usr/bin/env bash
# Measures system mode in a lab of its own, and the parts of a start natively; writes
# docs/bench.md and docs/bench-lab.json. The programs are in $1 (make lab-bench).
set -euo pipefail
programs=$1
scratch=$(mktemp -d)
lab() { "$scratch/lab" --dir "$scratch/host" "$@"; }
trap 'lab down || true; rm -rf "$scratch"' EXIT
go build -o "$scratch/lab" ./tools/lab
go build -trimpath -o "$scratch/bench" ./tools/bench
lab up --build "$programs"
lab push "$scratch/bench" /root/bench
lab exec -- sh -ec '
	for program in firecracker jailer; do
		if [ -e /lab/bin/$program ]; then cp /lab/bin/$program /usr/local/bin/; fi
	done
	/lab/build/banger system install --owner dev
	su dev -c "banger kernel import --host"
	su dev -c "banger image import /lab/busybox.tar bench-busybox"
	/root/bench -system /root/lab.json -n 10'
lab pull /root/lab.json "$scratch/lab.json"
lab down
go run ./tools/bench -lab "$scratch/lab.json"
