package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"banger/internal/vmid"
	"banger/test/harness"
)

// The attacks are in test/lab/attacker. A scenario runs that program as an untrusted
// user, and checks the other VMs before and after.

// attackerPath is a path at which every user in the lab can run the attacker.
const attackerPath = "/srv/attacker"

// attacks run the attacker in the lab.
type attacks struct{ lab *Lab }

// newAttacks copies the attacker into the lab.
func newAttacks(l *Lab) attacks {
	dir, err := os.MkdirTemp("", "banger-attacker-")
	if err != nil {
		l.Failf("%v", err)
	}
	defer os.RemoveAll(dir)
	if err := buildAttacker(l.ctx, filepath.Join(dir, "attacker")); err != nil {
		l.Failf("%v", err)
	}
	if err := l.conn.Push(l.ctx, filepath.Join(dir, "attacker"), attackerPath); err != nil {
		l.Failf("cannot copy the attacker into the lab: %v", err)
	}
	l.Run("chmod 755 %s", attackerPath)
	return attacks{l}
}

func buildAttacker(ctx context.Context, path string) error {
	repository, err := harness.Repository()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./test/lab/attacker")
	cmd.Dir, cmd.Env = repository, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the attacker: %w\n%s", err, out)
	}
	return nil
}

// refusedAll ends the scenario if an attack succeeded, or if there was none.
func (a attacks) refusedAll(r Result) {
	if r.Status != 0 || !strings.Contains(r.Output, "refused ") {
		a.lab.Failf("status %d: %s\n%s", r.Status, r.Command, succeeded(r.Output))
	}
}

// succeeded returns the lines without refused attacks.
func succeeded(output string) string {
	var b strings.Builder
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "refused ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// pids returns the processes that must not be harmed: PID 1, the VMMs except that of
// one VM, and the main processes of units.
func (a attacks) pids(but string, units ...string) string {
	pids := []string{"1"}
	for _, vm := range a.lab.VMs() {
		if vm.PID != 0 && vm.Name != but {
			pids = append(pids, strconv.Itoa(vm.PID))
		}
	}
	for _, unit := range units {
		pids = append(pids, a.lab.mainPID(unit))
	}
	return strings.Join(pids, ",")
}

// nobody runs a command as a user of the machine that is neither root nor the owner.
const nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups -- "

// attackStranger: another user of the machine gets nothing, and blocks nothing.
func attackStranger(l *Lab) {
	a := newAttacks(l)
	l.Start("web")
	web := l.Fingerprint("web")
	a.refusedAll(l.Try(nobody+attackerPath+" stranger pids=%s unit=%s", a.pids("", "bangerd", "bangerd-root"), vmid.Unit(l.VM("web").ID)))
	l.Unharmed("web", web)

	// Forged ends of jobs, to everybody and to each client, while jobs run.
	l.Dev("banger vm create %s --driver %s --name k", start, l.driver)
	k := l.VM("k")
	for result, command := range map[string]string{"failed": "banger vm start k", "done": "banger vm stop k && banger vm start k && banger vm stop k"} {
		a.forging(result, vmid.Unit(k.ID)+",bangerd.service,bangerd-root.service", func() { l.Boot("k", command) })
		l.NoLeaks()
	}
	l.gone(k.ID)
	a.forging("failed", "bangerd.service,bangerd-root.service", func() { l.Run("banger system restart") })
	l.Answering()
	l.Unharmed("web", web)

	// Long command lines that contain a VM's socket, and many short ones.
	for _, size := range []string{"count=31 bytes=1800000", "count=400 bytes=100"} {
		a.crowded("--uid=65534", size, k.ID)
	}
	l.Unharmed("web", web)
	l.NoLeaks()
}

// forging runs do while another user sends forged ends of jobs to everybody.
func (a attacks) forging(result, units string, do func()) {
	l := a.lab
	const unit = "scenario-forge"
	// The number of a job: systemd returns one even if there is nothing to do.
	job := l.Run(`busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartUnit ss dbus.service replace | grep -o '[0-9]*"$' | tr -d '"'`)
	l.Run("systemd-run -q --collect --unit=%s --uid=65534 %s forge seconds=600 result=%s from=%s units=%s", unit, attackerPath, result, job, units)
	do()
	l.Run("systemctl -q is-active %[1]s && systemctl stop %[1]s", unit)
}

// crowdMemory bounds the helper's memory since its start, in bytes: its binary, the
// runtime and its usual work use a third of that.
const crowdMemory = 64 << 20

// crowded starts, finds and stops the VM k while the table of processes is crowded: the
// helper neither ends nor uses much memory.
func (a attacks) crowded(who, size, id string) {
	l := a.lab
	const unit = "scenario-crowd"
	helper := l.mainPID("bangerd-root")
	l.Run("systemd-run -q --collect --unit=%s %s -p TasksMax=infinity %s crowd %s seconds=1200 names=/run/banger-root/%s.sock", unit, who, attackerPath, size, id)
	l.Wait("the crowd is there", func() bool { return l.Try("journalctl -q -b -o cat -u %s | grep processes", unit).Status == 0 })
	l.Boot("k", "banger vm start k")
	l.Guest("k", "true")
	l.Dev("banger vm stop k")
	l.Run("systemctl -q is-active %[1]s && systemctl stop %[1]s", unit)
	l.Equal("the helper's process, beside a crowd", l.mainPID("bangerd-root"), helper)
	peak, err := strconv.Atoi(l.Run("cat /sys/fs/cgroup/system.slice/bangerd-root.service/memory.peak"))
	if err != nil || peak > crowdMemory {
		l.Failf("the helper took %d MiB beside a crowd (%v)", peak>>20, err)
	}
}

// attackOwner: the owner asks the helper for what the owner must not get.
func attackOwner(l *Lab) {
	a := newAttacks(l)
	l.Start("web")
	web, vm := l.Fingerprint("web"), l.VM("web")
	base := l.Run("losetup --list --noheadings --output RO,BACK-FILE | awk '$1 == 1 {print $2; exit}'")
	a.refusedAll(l.TryDev("%s owner other=%s slot=%d base=%s pids=%s", attackerPath, vm.ID, vm.Slot, base, a.pids("", "bangerd-root"))) // bangerd is the owner's own
	l.Unharmed("web", web)
	l.NoLeaks()
	// The boot files of VMs still exist.
	l.Boot("k", fmt.Sprintf("banger vm create %s --driver %s --name k --start", start, l.driver))
	l.Guest("k", "true")
}

// attackVMM returns the scenario of a VMM that its guest has taken over.
func attackVMM(driver string) func(*Lab) {
	return func(l *Lab) {
		a := newAttacks(l)
		l.Start("web")
		web := l.Fingerprint("web")
		l.Guest("web", "echo secret > /index.html; busybox httpd -p 9000 -h /")
		l.serveHostPage()
		l.Boot("evil", fmt.Sprintf("banger vm create %s --driver %s --name evil --start", start, driver))
		evil := l.VM("evil")
		link := l.Run("ip -br addr | awk '$1 ~ /^bv/ {sub(\"/.*\", \"\", $3); print $3; exit}'")
		reach := []string{
			link + ":9001", "203.0.113.2:9001", "10.0.2.2:9001", "127.0.0.1:9001", // the host
			l.VM("web").Address + ":9000", "198.51.100.80:80", "169.254.169.254:80",
		}
		most := l.Run("systemctl show -P TasksMax %s", vmid.Unit(evil.ID))
		shared := l.Run("ls -A /dev/shm /dev/mqueue; ipcs -a | wc -l")
		dir, place := "/", "/attacker"
		jail := fmt.Sprintf("/var/lib/banger/jails/%s/%s/root", driver, evil.ID)
		if driver == "qemu" {
			dir, place = jail, attackerPath
		} else {
			l.Run("install -m 755 %s %s/attacker", attackerPath, jail)
		}
		inside := fmt.Sprintf("sh -c 'echo $$ > /sys/fs/cgroup/%s/%s/cgroup.procs && exec \"$@\"' - nsenter --target %d --net --mount --ipc --root --wd=/ --setuid $(stat -c %%u /proc/%[3]d) --setgid $(stat -c %%g /proc/%[3]d) -- %[4]s ",
			vmid.Slice, vmid.Unit(evil.ID), evil.PID, place)
		a.refusedAll(l.Try("%s", inside+fmt.Sprintf("vmm dir=%s pids=%s reach=%s most=%s", dir, a.pids("evil", "bangerd", "bangerd-root"), strings.Join(reach, ","), most)))
		l.Unharmed("web", web)
		l.Equal("what VMMs could share", l.Run("ls -A /dev/shm /dev/mqueue; ipcs -a | wc -l"), shared)

		// It takes all the memory that it can: only its own VM ends.
		if r := l.Try("%s", inside+"memory 4000"); r.Status == 0 {
			l.Failf("a VMM took 4000 MiB: %s", r.Output)
		}
		l.Unharmed("web", web)
		l.TryDev("banger vm kill evil")
		l.Dev("banger vm delete --force evil")
		l.gone(evil.ID)
		l.Run("test ! -e %s", filepath.Dir(jail))
		l.endHostPage()
		l.NoLeaks()
	}
}
