#!/bin/sh
# Turns the system that mmdebstrap has unpacked in $1 into the lab host and writes it to
# $OUT: root.ext4, vmlinuz, modules, initrd. mmdebstrap runs it as (its namespace's) root.
set -eu
root=$1

write() { # file; the text is standard input
	mkdir -p "$root${1%/*}"
	cat >"$root$1"
}
mask() {
	for unit; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
}

echo lab | write /etc/hostname
printf '127.0.0.1 localhost lab\n198.51.100.80 internet.test\n' | write /etc/hosts
# systemd-resolved's package makes this a link and has its service start.
rm -f "$root/etc/resolv.conf"
printf 'nameserver 203.0.113.53\n' | write /etc/resolv.conf
chroot "$root" systemctl disable systemd-resolved.service
printf '/dev/vda / ext4 defaults 0 0\n' | write /etc/fstab
# A fixed id: an empty one would make every boot a first boot.
echo 6c61622d686f73742d6f662d62616e67 | write /etc/machine-id
# udev loads the kvm module that suits the processor.
printf 'dm_snapshot\nloop\ntun\n' | write /etc/modules-load.d/lab.conf
# What a scenario left in the journal has to be there after a power cut.
mkdir -p "$root/var/log/journal"
printf '[Journal]\nSyncIntervalSec=1s\n' | write /etc/systemd/journald.conf.d/lab.conf
# So that no boot waits for a unit that hangs longer than a scenario would.
printf '[Manager]\nDefaultTimeoutStopSec=20s\n' | write /etc/systemd/system.conf.d/lab.conf

# The owner of the scenarios: an ordinary user, in no group that matters.
chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 dev
printf 'dev:100000:65536\n' | tee "$root/etc/subuid" >"$root/etc/subgid"

# The disk /lab is mounted by the initramfs and brings everything that changes
# from run to run.
mkdir -p "$root/lab"
write /etc/systemd/system/lab-agent.service <<'UNIT'
[Unit]
Description=Commands from outside
DefaultDependencies=no
Requires=dev-virtio\x2dports-lab.3.device
After=dev-virtio\x2dports-lab.3.device systemd-remount-fs.service
Conflicts=shutdown.target
Before=shutdown.target
IgnoreOnIsolate=yes

[Service]
ExecStart=/lab/bin/lab-agent serve
Restart=always
OOMScoreAdjust=-900
KillMode=mixed
TimeoutStopSec=3s
UNIT
write /etc/systemd/system/lab-internet.service <<'UNIT'
[Unit]
Description=What stands for the internet: a namespace behind the interface wan0

[Service]
Type=notify
NotifyAccess=all
ExecStartPre=-/bin/ip netns delete internet
ExecStartPre=-/bin/ip link delete wan0
ExecStartPre=/lab/bin/lab-agent links
ExecStart=/bin/ip netns exec internet /lab/bin/lab-agent internet
Restart=on-failure
UNIT
wants=$root/etc/systemd/system/multi-user.target.wants
mkdir -p "$wants" "$root/etc/systemd/system/sysinit.target.wants"
ln -s ../lab-internet.service "$wants/"
ln -s ../lab-agent.service "$root/etc/systemd/system/sysinit.target.wants/"
# Nothing here is in need of these, and each costs time under emulation.
mask serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
	e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer systemd-networkd-wait-online.service \
	systemd-hwdb-update.service systemd-pstore.service keyboard-setup.service console-setup.service \
	systemd-update-utmp.service systemd-update-utmp-runlevel.service sys-kernel-debug.mount sys-kernel-tracing.mount \
	dev-hugepages.mount dev-mqueue.mount
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"

# Programs for the lab's own use.
printf 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n' | write /etc/environment

version=$(ls "$root/lib/modules")
cp "$root/boot/vmlinuz-$version" "$OUT/vmlinuz"
cp -r --no-preserve=ownership "$root/lib/modules/$version" "$OUT/modules"

# A small initramfs: what the root disk needs, and nothing that searches for it.
tree=$OUT/initramfs
mkdir -p "$tree/bin" "$tree/modules" "$tree/dev" "$tree/proc" "$tree/root"
cp "$root/bin/busybox" "$tree/bin/busybox"
: >"$tree/modules/order"
for module in virtio_pci virtio_mmio virtio_blk ext4 virtio_console; do
	chroot "$root" modprobe --show-depends --set-version "$version" $module | while read -r what file rest; do
		[ "$what" = insmod ] || continue
		name=${file##*/}
		grep -qx "${name%.xz}" "$tree/modules/order" && continue
		case $file in
		*.xz) xz -dc "$root$file" >"$tree/modules/${name%.xz}" ;;
		*) cp "$root$file" "$tree/modules/" ;;
		esac
		echo "${name%.xz}" >>"$tree/modules/order"
	done
done
cat >"$tree/init" <<'INIT'
#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
while read -r module; do $bb insmod /modules/$module; done </modules/order
while [ ! -b /dev/vda ] || [ ! -b /dev/vdb ]; do $bb usleep 10000; done
$bb mount -t ext4 -o rw /dev/vda /root || exec $bb sh
$bb mount -t ext4 -o ro /dev/vdb /root/lab || exec $bb sh
$bb umount /proc
$bb mount --move /dev /root/dev
exec $bb switch_root /root /sbin/init
INIT
chmod 755 "$tree/init"
(cd "$tree" && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null) >"$OUT/initrd"
rm -rf "$tree"

rm -rf "$root"/boot/initrd* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/usr/share/doc/* "$root"/usr/share/man/*
# mmdebstrap has /proc, /sys and /dev mounted in the tree; a bind mount shows the tree without.
mkdir "$OUT/view"
mount --bind "$root" "$OUT/view"
mke2fs -q -t ext4 -L lab-root -d "$OUT/view" -E lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0 -N 200000 -m 0 "$OUT/root.ext4" "$SIZE"
umount "$OUT/view"
rmdir "$OUT/view"
