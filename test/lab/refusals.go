package lab

import "strings"

// missing: the host's missing features are reported, with what to type, and running VMs
// are not affected.
func missing(l *Lab) {
	l.Start("web")
	web := l.Fingerprint("web")
	l.Run("mv /dev/mapper/control /dev/mapper/control.away")
	l.Contains("the doctor, without device-mapper", l.TryDev("banger doctor").Output, "device-mapper")
	l.Dev("banger vm create %s --driver %s --name plain --start", start, l.driver)
	if d := l.VM("plain").DiskDriver; d == "dm-snapshot" {
		l.Failf("without device-mapper the disk driver is %s", d)
	}
	l.Guest("plain", "echo kept > /kept; sync")
	l.Run("mv /dev/mapper/control.away /dev/mapper/control")
	l.Boot("plain", "banger vm restart plain")
	l.Equal("what is on a plain disk", l.Guest("plain", "cat /kept"), "kept")
	l.Dev("banger vm delete --force plain")
	l.Unharmed("web", web)
	l.NoLeaks()
}

// missingFirecracker: no Firecracker, one that is too old, a jailer of another release,
// and no KVM.
func missingFirecracker(l *Lab) {
	l.Start("web")
	web := l.Fingerprint("web")
	const run = "banger vm create " + start + " --driver firecracker --name no --start"
	l.Run("mv /usr/local/bin/firecracker /root/fc.away")
	l.Fails(run, "firecracker is not installed")
	l.Run("printf '#!/bin/sh\\necho Firecracker v1.7.0\\n' > /usr/local/bin/firecracker && chmod 755 /usr/local/bin/firecracker")
	l.Fails(run, "1.7.0")
	l.Contains("the doctor", l.TryDev("banger doctor").Output, "1.7.0")
	l.Run("chmod 777 /usr/local/bin/firecracker")
	l.Fails(run, "others than root can change it")
	l.Run("mv -f /root/fc.away /usr/local/bin/firecracker")
	l.Run("mv /dev/kvm /dev/kvm.away")
	l.Fails(run, "KVM")
	l.Run("mv /dev/kvm.away /dev/kvm")
	l.TryDev("banger vm delete --force no")
	l.fakeJailer("echo Jailer v1.99.0")
	l.Contains("the doctor, on a jailer of another release", l.TryDev("banger doctor").Output, "and jailer 1.99.0 are of different releases")
	l.trueJailer()
	if out := l.TryDev("banger doctor").Output; strings.Contains(out, "different releases") {
		l.Failf("the doctor, on a pair of one release:\n%s", out)
	}
	l.Unharmed("web", web)
	l.NoLeaks()
}

// full: on a full disk a new VM is refused, and existing ones are not harmed; a disk
// that cannot grow is reported as broken or full, and works again when there is space.
func full(l *Lab) {
	l.Start("web")
	web := l.Fingerprint("web")
	l.fillDisk(1000000)
	r := l.TryDev("banger vm create %s --driver %s --disk 32G --name no --start", start, l.driver)
	if r.Status == 0 {
		l.Failf("a VM was made on a full disk: %s", r.Output)
	}
	l.Run("rm %s", ballast)
	l.atRest()
	l.TryDev("banger vm delete --force no 2>/dev/null")
	l.Unharmed("web", web)
	l.NoLeaks()
}

// fullGuest: a guest that writes while the host's disk is full gets errors; everything
// it had written before is available again when there is space and the VM is started.
func fullGuest(l *Lab) {
	l.Boot("writer", "banger vm create "+start+" --driver "+l.driver+" --name writer --start")
	l.Guest("writer", "echo kept > /kept; sync")
	id := l.VM("writer").ID
	l.fillDisk(500000)
	l.Wait("the full disk of the host is told", func() bool { // also after the guest's next write, which breaks its disk
		reason := l.VM("writer").Reason
		return strings.Contains(reason, "the disk of this host is full") || strings.Contains(reason, "room on this host's disk")
	})
	l.TryDev("timeout 60 banger vm exec writer -- sh -c 'busybox dd if=/dev/urandom of=/big bs=1M count=32; sync'")
	l.Contains("the state of the snapshot", l.Run("dmsetup status banger-%s", id), "Invalid")
	l.Contains("the doctor, on a guest whose disk the host could not write", l.TryDev("banger doctor").Output, "broken")
	l.Contains("what is shown of its disk", l.Dev("banger vm show writer"), "broken")
	l.Dev("banger vm kill writer")
	l.Run("rm %s", ballast)
	l.Boot("writer", "banger vm start writer")
	l.Equal("what was synced before the disk was full", l.Guest("writer", "cat /kept"), "kept")
	l.Guest("writer", "echo more > /more; sync")
	l.NoLeaks()
}

// otherHelper: a helper with another protocol is reported and refused, and guests keep
// running.
func otherHelper(l *Lab) {
	if l.Try("test -x /lab/extra/bangerd-root-other").Status != 0 {
		l.Failf("the lab has no helper of another protocol: /lab/extra/bangerd-root-other")
	}
	l.Start("web")
	web := l.Fingerprint("web")
	l.Run("cp -a /usr/local/lib/banger/current/bangerd-root /root/good && install /lab/extra/bangerd-root-other /usr/local/lib/banger/current/bangerd-root.new && mv /usr/local/lib/banger/current/bangerd-root.new /usr/local/lib/banger/current/bangerd-root && systemctl restart bangerd-root")
	l.Fails("banger vm create "+start+" --name no --start", "use different protocols")
	l.Contains("the doctor", l.TryDev("banger doctor").Output, "use different protocols")
	l.Contains("the answer of a guest meanwhile", l.Guest("web", "echo here"), "here")
	// A daemon that starts in the meantime does not affect the guests, and finds them
	// later.
	l.Run("systemctl restart bangerd || true")
	l.Run("mv /root/good /usr/local/lib/banger/current/bangerd-root && systemctl restart bangerd-root")
	l.Answering()
	l.Wait("the guest is found again", func() bool { return l.TryDev("banger vm exec web -- true").Status == 0 })
	l.TryDev("banger vm delete --force no 2>/dev/null")
	l.Unharmed("web", web)
	l.NoLeaks()
}
