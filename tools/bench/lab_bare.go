package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/disk"
	"banger/internal/disk/dmsnap"
	"banger/internal/driver/firecracker"
	"banger/internal/guest"
	"banger/internal/host/blockdev"
	"banger/internal/paths"
	"banger/internal/rootapi"
)

// labBare is how a bare Firecracker is started: from copies of banger's files.
type labBare struct {
	program, jailer string
	files           string // directory with kernel, initramfs and configuration
	base            string // the image's disk
}

// bareSlot is a slot that is unused in a run of a few dozen VMs.
const bareSlot = 16000

func (l *lab) bareID() string { return "ba4e00000001" }

// learn copies the files that a running VM was started from.
func (l *lab) learn(vm api.VM) (labBare, error) {
	b := labBare{files: filepath.Join(paths.Jails, "bench-files")}
	var err error
	if b.program, err = exec.LookPath("firecracker"); err == nil {
		b.jailer, err = exec.LookPath("jailer")
	}
	if err != nil {
		return b, err
	}
	if err := errors.Join(os.RemoveAll(b.files), os.MkdirAll(b.files, 0o700)); err != nil {
		return b, err
	}
	root := firecracker.Jail{ID: vm.ID, Exec: b.program}.Root()
	for _, name := range []string{firecracker.KernelFile, firecracker.InitramfsFile, firecracker.ConfigFile} {
		if err := os.Link(filepath.Join(root, name), filepath.Join(b.files, name)); err != nil {
			return b, err
		}
	}
	objects, err := blockdev.List()
	for _, o := range objects {
		if o.Kind == blockdev.KindLoop && o.ID == "" {
			b.base = o.Backing
		}
	}
	if err == nil && b.base == "" {
		err = errors.New("the VM's disk has no base")
	}
	return b, err
}

// bareLife is the life cycle of a Firecracker in its jailer, started without banger.
// Jail, disk and network are made beforehand.
func (l *lab) bareLife(ctx context.Context, _ int) (err error) {
	if l.bare.program == "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	id := l.bareID()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
		defer cancel()
		_, released := l.helper.Do(ctx, rootapi.VMReleaseCall{VM: rootapi.VM{ID: id}}, nil)
		err = errors.Join(err, released)
	}()
	uid := l.record.UIDBase + bareSlot
	root, err := l.bareJail(ctx, id, uid, filepath.Join(dir, "cow"))
	if err != nil {
		return err
	}
	bell, err := net.Listen("unix", filepath.Join(root, firecracker.ReadySocket))
	if err != nil {
		return err
	}
	defer bell.Close()
	if err := os.Lchown(filepath.Join(root, firecracker.ReadySocket), uid, uid); err != nil {
		return err
	}
	args, err := firecracker.JailerArgs(firecracker.Jail{ID: id, Exec: l.bare.program, UID: uid, GID: uid})
	if err != nil {
		return err
	}
	at := slices.Index(args, "--parent-cgroup")
	return l.bareRun(ctx, root, slices.Delete(args, at, at+2), dir, bell)
}

// bareJail makes what a Firecracker needs, as the helper does.
func (l *lab) bareJail(ctx context.Context, id string, uid int, cow string) (root string, err error) {
	root = firecracker.Jail{ID: id, Exec: l.bare.program}.Root()
	if err := os.MkdirAll(root, 0o711); err != nil {
		return "", err
	}
	err = errors.Join(os.Chmod(filepath.Dir(root), 0o711), os.Chmod(root, 0o711), os.Lchown(filepath.Dir(root), 0, uid))
	for _, name := range []string{firecracker.KernelFile, firecracker.InitramfsFile, firecracker.ConfigFile} {
		err = errors.Join(err, os.Link(filepath.Join(l.bare.files, name), filepath.Join(root, name)))
	}
	available := func(context.Context) error { return nil }
	err = errors.Join(err, dmsnap.New(available).Create(ctx, disk.Spec{Base: l.bare.base, Path: cow}))
	if err != nil {
		return "", err
	}
	base, err := os.Open(l.bare.base)
	if err != nil {
		return "", err
	}
	defer base.Close()
	own, err := os.OpenFile(cow, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer own.Close()
	var device rootapi.Device
	if _, err := l.helper.Do(ctx, rootapi.DiskAttachCall{VM: rootapi.VM{ID: id}, Mode: rootapi.Snapshot}, &device, base, own); err != nil {
		return "", err
	}
	if _, err := l.helper.Do(ctx, rootapi.NetAttachCall{VM: rootapi.VM{ID: id}, Slot: bareSlot}, nil); err != nil {
		return "", err
	}
	node := filepath.Join(root, firecracker.DiskFile)
	return root, errors.Join(unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(device.Major, device.Minor))), os.Lchown(node, uid, uid))
}

// bareRun starts the jailer and measures until the end of the first command.
func (l *lab) bareRun(ctx context.Context, root string, args []string, dir string, bell net.Listener) error {
	console, err := os.Create(filepath.Join(dir, "console"))
	if err != nil {
		return err
	}
	defer console.Close()
	cmd := exec.Command(l.bare.jailer, args...)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
		bell.Close()
	}()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
	}()
	stop := context.AfterFunc(ctx, func() { bell.Close() })
	defer stop()
	ring, err := bell.Accept()
	if err != nil {
		said, _ := os.ReadFile(console.Name())
		return fmt.Errorf("a bare Firecracker did not come up: %w: %.2000s", err, said)
	}
	ring.Close()
	conn, err := net.Dial("unix", filepath.Join(root, firecracker.VsockSocket))
	if err != nil {
		return err
	}
	if err := firecracker.Connect(ctx, conn, firecracker.AgentPort); err != nil {
		conn.Close()
		return err
	}
	link, err := guest.Connect(ctx, conn, "bench")
	if err != nil {
		return err
	}
	defer link.Close()
	up := time.Now()
	if err := runIn(ctx, &guest.Client{Dial: link.Open}, "true"); err != nil {
		return err
	}
	done := time.Now()
	l.report.add("bare.total", done.Sub(began))
	l.report.add("bare.boot", up.Sub(began))
	l.report.add("bare.exec", done.Sub(up))
	return nil
}
