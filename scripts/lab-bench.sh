#!/usr/bin/env bash
# Measures system mode in a lab of its own, and the parts of a start natively; writes
# docs/bench.md and docs/bench-lab.json, or into the directory $2. The programs are in
# $1 (make lab-bench). The lab is gone at the end, whatever the end is.
set -euo pipefail
programs=$1
out=${2:-}
rounds=${LAB_BENCH_ROUNDS:-10}
scratch=$(mktemp -d)
lab() { "$scratch/lab" --dir "$scratch/host" "$@"; }
up=
down() {
	if [ -n "$up" ]; then
		up=
		lab down
	fi
}
trap 'down || true; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
go build -o "$scratch/lab" ./tools/lab
go build -trimpath -o "$scratch/bench" ./tools/bench
up=yes
lab up --build "$programs"
lab push "$scratch/bench" /root/bench
# As the scenarios install it (test/lab/install.go): an emulated guest takes its time,
# and without Firecracker the probe of KVM would not wait long enough for one.
lab exec -- sh -ec '
	mkdir -p /etc/banger
	echo "boot_timeout = \"6m\"" > /etc/banger/config.toml
	if [ -e /lab/bin/firecracker ] && [ -e /lab/bin/jailer ]; then
		cp /lab/bin/firecracker /lab/bin/jailer /usr/local/bin/
	else
		echo "accel = \"kvm\"" >> /etc/banger/config.toml
	fi
	/lab/build/banger system install --owner dev
	su dev -c "banger kernel import --host"
	su dev -c "banger image import /lab/busybox.tar bench-busybox"
	/root/bench -system /root/lab.json -n '"$rounds"
lab pull /root/lab.json "$scratch/lab.json"
down
go run ./tools/bench -lab "$scratch/lab.json" -out "$out"
