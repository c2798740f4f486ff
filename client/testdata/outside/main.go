// The program outside is of another module. It uses banger as any program can that is not
// part of it: TestAnotherModuleCanUseTheClient compiles it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"banger/api"
	"banger/client"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		e := api.AsError(err)
		fmt.Fprintln(os.Stderr, e.Kind, e.Message, e.Hint)
		os.Exit(1)
	}
}

func run(ctx context.Context, socket string) error {
	c := client.With(client.Options{
		Socket: socket, Log: "bangerd.log", Version: "1.0.0",
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		OnOtherVersion: func(daemon string) { fmt.Fprintln(os.Stderr, "the daemon is", daemon) },
		OnUnresponsive: func(vm string) { fmt.Fprintln(os.Stderr, vm, "does not answer") },
	})
	report := func(p api.Progress) { fmt.Println(p.Step, p.Message, p.Done, p.Total) }
	return errors.Join(daemon(ctx, client.New(socket)), caches(ctx, c, report), vms(ctx, c, report), inside(ctx, c.Guest("dev"), report))
}

func daemon(ctx context.Context, c *client.Client) error {
	d := c.Daemon()
	status, err := d.Status(ctx)
	doctor, errDoctor := d.Doctor(ctx)
	leaks, errLeaks := d.Leaks(ctx)
	config, errConfig := d.Config(ctx)
	operations, errList := c.Operations().List(ctx)
	for _, o := range operations {
		errList = errors.Join(errList, c.Operations().Cancel(ctx, o.ID))
	}
	fmt.Println(status.PID, len(doctor.Checks), len(leaks.Leaks), len(config.Values))
	return errors.Join(err, errDoctor, errLeaks, errConfig, errList, d.Stop(ctx))
}

func caches(ctx context.Context, c *client.Client, report api.Report) error {
	images := c.Images()
	image, err := images.Pull(ctx, api.PullImage{Name: "alpine:3.20"}, report)
	if err != nil {
		return err
	}
	_, errImport := images.Import(ctx, api.ImportImage{Path: "/tmp/root.tar", Name: "mine"}, report)
	_, errTag := images.Tag(ctx, api.TagImage{Image: image.Digest, Name: "base"})
	_, errShow := images.Show(ctx, "base")
	list, errList := images.List(ctx)
	history, errHistory := images.History(ctx, "base")
	sockets, errExport := images.Export(ctx, "base", api.ExportOCI, io.Discard, report)
	_, errRegister := images.Register(ctx, api.RegisterImage{Name: "own", Rootfs: "/srv/root.ext4"}, report)
	_, errPromote := images.Promote(ctx, api.PromoteImage{Image: "own"}, report)
	_, errPrunable := images.Prunable(ctx)
	pruned, errPrune := images.Prune(ctx, report)
	kernels := c.Kernels()
	_, errAvailable := kernels.Available(ctx, false)
	kernel, errKernel := kernels.Pull(ctx, api.PullKernel{}, report)
	_, errFile := kernels.Import(ctx, api.ImportKernel{Path: "/boot/vmlinuz"}, report)
	_, errOne := kernels.Show(ctx, kernel.Digest)
	all, errAll := kernels.List(ctx)
	fmt.Println(len(list), len(history), sockets, pruned.Removed, len(all))
	return errors.Join(errImport, errTag, errShow, errList, errHistory, errExport, errRegister, errPromote, errPrunable, errPrune, errAvailable, errKernel, errFile, errOne, errAll,
		images.Delete(ctx, "base"), kernels.Delete(ctx, kernel.Digest))
}

func vms(ctx context.Context, c *client.Client, report api.Report) error {
	v := c.VMs()
	vm, err := v.Create(ctx, api.CreateVM{Name: "dev", Start: true}, report)
	if err != nil {
		return err
	}
	memory := int64(1 << 30)
	_, errStop := v.Stop(ctx, vm.ID, api.StopVM{GraceSeconds: 5}, report)
	_, errSet := v.Set(ctx, vm.ID, api.SetVM{MemoryBytes: &memory})
	_, errCommit := v.Commit(ctx, vm.ID, api.CommitVM{Name: "ready"}, report)
	_, errRename := v.Rename(ctx, vm.ID, "web")
	_, errStart := v.Start(ctx, vm.ID, api.StartVM{}, report)
	_, errRestart := v.Restart(ctx, vm.ID, api.StartVM{Force: true}, report)
	_, errPublish := v.Publish(ctx, vm.ID, api.PublishVM{Add: []api.PublishedPort{{HostPort: 8080, GuestPort: 80}}})
	access, errSSH := v.SSHAccess(ctx, vm.ID)
	sessions, errSessions := v.Sessions(ctx, vm.ID)
	errLogs := v.Logs(ctx, vm.ID, false, 10, os.Stdout)
	_, errKill := v.Kill(ctx, vm.ID, report)
	_, errWait := v.Wait(ctx, vm.ID)
	_, errShow := v.Show(ctx, vm.ID)
	list, errList := v.List(ctx)
	pruned, errPrune := v.Prune(ctx, report)
	fmt.Println(access.Name, len(sessions), len(list), pruned.ReclaimedBytes)
	return errors.Join(errStop, errSet, errCommit, errRename, errStart, errRestart, errPublish, errSSH, errSessions, errLogs,
		errKill, errWait, errShow, errList, errPrune, v.Keep(ctx, vm.ID), v.Delete(ctx, vm.ID, true, report))
}

func inside(ctx context.Context, g *client.Guest, report api.Report) error {
	s, err := g.Exec(ctx, api.Exec{Argv: []string{"cat"}})
	if err != nil {
		return err
	}
	errSession := useSession(ctx, g, s)
	id, exit, errDetached := g.Start(ctx, api.Exec{Argv: []string{"make"}}, os.Stderr)
	again, errAttach := g.Attach(ctx, id, 24, 80)
	if errAttach == nil {
		errAttach = useSession(ctx, g, again)
	}
	o := client.CopyOptions{Archive: true, Warnings: os.Stderr, Report: report}
	errCopy := errors.Join(g.CopyIn(ctx, "src", "/work", o), g.CopyOut(ctx, "/work", "back", o), g.Put(ctx, "/work", os.Stdin, os.Stderr))
	errTree := g.Tree(ctx, "/work", client.TreeOptions{Skip: []string{".git"}}, func(e client.TreeEntry) error {
		fmt.Println(e.Path, e.Type == client.TreeDir, e.Unread)
		return nil
	})
	errFetch := g.Fetch(ctx, "/work", []string{"go.mod"}, func(f client.FetchedFile) error {
		_, err := io.Copy(os.Stdout, f.Content)
		after, cut, errAfter := f.After()
		fmt.Println(after == f.TreeEntry, cut)
		return errors.Join(f.Err, err, errAfter)
	})
	tar, errGet := g.Get(ctx, "/work", os.Stderr)
	if errGet == nil {
		_, errGet = io.Copy(io.Discard, tar)
		errGet = errors.Join(errGet, tar.Close())
	}
	health, errHealth := g.Health(ctx)
	ports, errPorts := g.Ports(ctx)
	fmt.Println(g.Name(), id, exit.Code, exit.Signal, health.BootID, len(ports), g.Complete(api.Exec{}).Dir)
	return errors.Join(errSession, errDetached, errAttach, errCopy, errTree, errFetch, errGet, errHealth, errPorts, forward(ctx, g))
}

func useSession(ctx context.Context, g *client.Guest, s *client.Session) error {
	defer s.Close()
	go func() { _, _ = io.Copy(os.Stdout, s.Stdout) }()
	go func() { _, _ = io.Copy(os.Stderr, s.Stderr) }()
	errs := []error{s.Resize(24, 80), s.Signal(syscall.SIGINT), s.Stdin.Close(), g.Leave(ctx, s.ID(), s)}
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
	}
	_, err := s.Wait(ctx)
	return errors.Join(append(errs, err)...)
}

func forward(ctx context.Context, g *client.Guest) error {
	broken := func(err error) { fmt.Fprintln(os.Stderr, err) }
	to := client.Endpoint{Network: "tcp", Address: ":80"}
	l, err := client.Listen(ctx, client.Endpoint{Network: "tcp", Address: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	here, there := net.Pipe()
	defer here.Close()
	reversed, err := g.Listen(ctx, client.Endpoint{Network: "tcp", Address: ":3000"})
	if err != nil {
		return err
	}
	defer reversed.Close()
	channel, err := g.Dial(ctx)
	if err != nil {
		return err
	}
	ssh, err := g.SSH(ctx, nil)
	if err != nil {
		return err
	}
	fmt.Println(reversed.Address)
	return errors.Join(g.Forward(ctx, l, to, broken), g.Connect(ctx, there, to), reversed.Serve(ctx, to, broken), channel.Close(), ssh.Close())
}
