package session

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"banger/internal/driver/fake"
)

// end ends everything of a script, and wants nothing to be left. Where the
// script has failed already, it only cleans up.
func (w *fixture) end() {
	w.endBackground()
	if w.options.System {
		w.endSystem()
	} else if !w.t.Failed() {
		w.checkEnd()
	}
	// What still runs was already reported as an error, or belongs to a script that failed.
	all, err := Processes(filepath.Dir(w.home))
	if err != nil {
		w.t.Error(err)
	}
	for _, p := range all {
		_ = syscall.Kill(p.PID, syscall.SIGKILL) // it may just have ended
	}
}

func (w *fixture) checkEnd() {
	if _, err := os.Stat(w.paths.Store()); err == nil {
		w.banger("vm", "delete", "--all", "--force")
		w.endFakeGuests()
		if err := atRest(w.paths, w.options.Idle); err != nil {
			w.t.Error(err)
		}
		w.banger("daemon", "stop")
	}
	w.checkProcesses()
	for _, what := range Leftovers(w.home, w.options.Allowed) {
		w.t.Errorf("left %s", what)
	}
}

// checkProcesses wants no process to be left that the script has started: all of
// them name its directory.
func (w *fixture) checkProcesses() {
	err := eventually(func() error {
		all, err := Processes(filepath.Dir(w.home))
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("left running: %v", all)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

// endFakeGuests ends programs of fake guests: those of a real one end with its
// machine, those of a fake one are processes of this host.
func (w *fixture) endFakeGuests() {
	all, err := Processes(w.home)
	if err != nil {
		w.t.Error(err)
	}
	for _, p := range all {
		if strings.Contains(p.Dir, "/"+fake.RootDir) {
			_ = syscall.Kill(p.PID, syscall.SIGKILL) // it may just have ended
		}
	}
}

// banger runs a command outside of the script.
func (w *fixture) banger(args ...string) {
	w.t.Helper()
	if out, err := w.run(args...); err != nil {
		w.t.Errorf("banger %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (w *fixture) run(args ...string) ([]byte, error) {
	program, err := exec.LookPath("banger")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Env = w.env
	return cmd.CombinedOutput()
}

// expected are the files of a home without VMs whose daemon has stopped. Who looked at
// the store beside the daemon, as an update does, leaves SQLite's -shm. What is known of a
// workspace's VM stays until the next `banger up` there.
var expected = regexp.MustCompile(`^(config\.toml|fault|cache/probe\.json|cache/blobs/sha256/[0-9a-f]{64}|cache/features/(lock|sha256/[0-9a-f]{64})` +
	`|data/(banger\.db(-reserve|-shm)?|bangerd\.lock|start\.lock|bangerd\.log)` +
	`|data/workspaces/[0-9a-f]{16}/((git|clone)/.*|lock|allowed\.json|setups/[0-9a-f]{12}/(setup\.json|files)|vms/[0-9a-f]{12}/(modules/[0-9a-f]{16}/)*(shipment\.json|shipped|last|(apply|sync)/(lock|last/.*)))` +
	`|data/images/(names\.json|[0-9a-f]{64}/(meta\.json|registered\.json|rootfs\.ext4|disk-[0-9]+\.ext4))` +
	`|data/kernels/(names\.json|[0-9a-f]{64}/(meta\.json|vmlinux|(full-)?initramfs-[0-9a-f]{16}|guest-modules\.cpio|modules/[0-9a-z_-]+\.ko)))$`)

// directories are what files are expected in, and may be empty.
var directories = regexp.MustCompile(`^(\.|cache|cache/(blobs|features)(/sha256)?|data|data/(vms|snapshots|staging|images|kernels|workspaces)|data/workspaces/[0-9a-f]{16}(/(git|clone)(/.*)?)?|data/workspaces/[0-9a-f]{16}/setups(/[0-9a-f]{12})?|data/workspaces/[0-9a-f]{16}(/vms(/[0-9a-f]{12}(/modules(/[0-9a-f]{16})?)*(/(apply|sync)(/last(/.*)?)?)?)?)?|data/(images|kernels)/[0-9a-f]{64}(/modules)?)$`)

// Leftovers says what is in a home without VMs, or in the kernel for it, that should not be
// there when its daemon has stopped. A file may be left, by its path below the home, if
// allowed says so; allowed may be nil.
func Leftovers(home string, allowed func(name string) bool) []string {
	var left []string
	for _, name := range leftFiles(home, allowed) {
		left = append(left, "on the disk: "+name)
	}
	for _, line := range leftInKernel(home) {
		left = append(left, "in the kernel: "+line)
	}
	return left
}

func leftFiles(home string, allowed func(name string) bool) []string {
	var left []string
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(home, path)
		if err != nil {
			return err
		}
		if allowed != nil && allowed(name) {
			return nil
		}
		if d.IsDir() && directories.MatchString(name) || d.Type().IsRegular() && expected.MatchString(name) {
			return nil
		}
		left = append(left, name+" ("+d.Type().String()+")")
		return nil
	})
	if err != nil {
		left = append(left, err.Error())
	}
	return left
}

// leftInKernel lists mounts and loop devices of the home.
func leftInKernel(home string) []string {
	var left []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	for line := range strings.Lines(string(mounts)) {
		if names([]byte(line), home) {
			left = append(left, "mount "+strings.TrimSpace(line))
		}
	}
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file") // the pattern is good
	for _, file := range backing {
		if data, err := os.ReadFile(file); err == nil && names(data, home) {
			left = append(left, "loop device "+file+" of "+strings.TrimSpace(string(data)))
		}
	}
	return left
}
