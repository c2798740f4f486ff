package lab

import (
	"fmt"
	"strings"
)

// installFirecracker: new VMs get the programs of a release's archive, running ones
// keep theirs, and it can be undone.
func installFirecracker(l *Lab) {
	l.Start("web")
	web := l.Fingerprint("web")
	line, _, _ := strings.Cut(l.Run("/usr/local/bin/firecracker --version"), "\n")
	version := strings.TrimPrefix(line, "Firecracker v")
	archive := "/root/release/firecracker-v" + version + "-x86_64.tgz"
	l.Run(`d=release-v%[1]s-x86_64; mkdir -p /root/release/$d && cd /root/release &&
		for p in firecracker jailer; do cp /usr/local/bin/$p $d/$p-v%[1]s-x86_64; done &&
		tar czf %[2]s $d && sha256sum firecracker-v%[1]s-x86_64.tgz > %[2]s.sha256.txt`, version, archive)

	l.Run("mv %[1]s /root/whole.tgz && head -c 1000000 /root/whole.tgz > %[1]s", archive)
	l.RootFails("banger system firecracker --from "+archive, "SHA-256")
	l.Run("mv /root/whole.tgz %s", archive)
	l.Contains("the installation of another Firecracker", l.Run("banger system firecracker --from %s", archive), "Firecracker "+version+" is installed")
	l.Contains("the same again", l.Run("banger system firecracker --from %s", archive), "already")

	// Only the installed programs are left to start a guest.
	digest := func(path string) string {
		digest, _, _ := strings.Cut(l.Run("sha256sum %s", path), " ")
		return digest
	}
	l.Run("mkdir /root/away && mv /usr/local/bin/firecracker /usr/local/bin/jailer /root/away/")
	l.Unharmed("web", web)
	l.Start("new")
	l.Equal("what runs a new VM", digest(fmt.Sprintf("/proc/%d/exe", l.VM("new").PID)), digest("/root/away/firecracker"))
	l.Boot("web", "banger vm restart web")
	l.StartCounter("web")
	web = l.Fingerprint("web")
	l.RootFails("banger system firecracker --rollback", "cannot switch back")
	l.Run("mv /root/away/firecracker /root/away/jailer /usr/local/bin/ && rm -r /root/away /root/release")

	l.Contains("the way back", l.Run("banger system firecracker --rollback"), "is disabled")
	l.Unharmed("web", web)
	l.Boot("new", "banger vm restart new")
	l.NoLeaks()
}
