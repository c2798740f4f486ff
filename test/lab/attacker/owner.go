package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"banger/internal/paths"
	"banger/internal/rootapi"
)

// owner may use all VMs, with a separate program as well as with banger; it must not
// become root, use up root's resources, or break what other VMs rely on.
//
//	other=ID    a VM that runs
//	slot=N      its slot
//	base=FILE   the base of its disk
//	pids=N,…    the VMMs and the helper
func owner(args []string) []attack {
	other, slot := option(args, "other"), 0
	if n := numbers(args, "slot"); len(n) == 1 {
		slot = n[0]
	}
	dir, err := os.MkdirTemp("", "attack-")
	if err != nil {
		panic(err)
	}
	o := ownerAttacks{dir: dir, other: rootapi.VM{ID: other}, fresh: rootapi.VM{ID: "00000000a77a"}, slot: slot, base: option(args, "base")}
	var all []attack
	for _, pid := range numbers(args, "pids") {
		all = append(all, harm(pid)...)
	}
	all = append(all, o.messages()...)
	all = append(all, o.disks()...)
	all = append(all, o.starts()...)
	return append(all,
		attack{"change what is root's", func() error {
			return errors.Join(lasting(add("/run/banger-root")), lasting(add("/var/lib/banger/boot")), lasting(change("/etc/banger/install.toml")[1:2]))
		}},
		attack{"have more boot files stored than is allowed", o.bootFiles},
		attack{"have a boot file stored that is too large", func() error {
			f := sparse(o.path("huge"), 2<<30) // too large, so that its digest, which takes minutes here, is not needed
			defer f.Close()
			return ask(rootapi.BootPutCall{Digest: strings.Repeat("a", 64)}, nil, f)
		}},
		attack{"remove the firewall's table while a VM runs", func() error { return ask(rootapi.ClearCall{}, nil) }},
		attack{"keep the helper busy for everybody", o.idle},
	)
}

// lasting is the first attack's error; nil if one of them succeeded.
func lasting(attacks []attack) error {
	var err error
	for _, a := range attacks {
		if err = a.try(); err == nil {
			return nil
		}
	}
	return err
}

type ownerAttacks struct {
	dir          string
	other, fresh rootapi.VM // a running VM; one that does not exist
	slot         int
	base         string
}

func (o *ownerAttacks) path(name string) string { return filepath.Join(o.dir, name) }

// askTime bounds a request: an emulated machine is slow.
const askTime = 60 * time.Second

func ask(call rootapi.Call, answer any, files ...*os.File) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	c := rootapi.Client{Socket: paths.RootSocket, Version: "attack", Patience: time.Second}
	got, err := c.Do(ctx, call, answer, files...)
	rootapi.CloseAll(got)
	return err
}

// messages are requests that rootapi.Client would not send.
func (o *ownerAttacks) messages() []attack {
	raw := func(what, verb, body string, files ...*os.File) attack {
		return attack{"send " + what, func() error { return send(verb, body, files) }}
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		panic(err)
	}
	return []attack{
		raw("a path instead of an id", "vm-find", `{"id":"../../../etc"}`),
		raw("an empty id", "vm-kill", `{"id":""}`),
		raw("a signal that suspends", "vm-kill", `{"id":"`+o.other.ID+`","signal":"STOP"}`),
		raw("a signal's number", "vm-kill", `{"id":"`+o.other.ID+`","signal":9}`),
		raw("an unknown field", "vm-find", `{"id":"`+o.other.ID+`","path":"/etc/shadow"}`),
		raw("an unknown verb", "exec", `{"id":"`+o.other.ID+`"}`),
		raw("a descriptor too many", "vm-find", `{"id":"`+o.other.ID+`"}`, null),
		raw("a message that is too long", "vm-find", `{"id":"`+strings.Repeat("a", 64<<10)+`"}`),
		raw("no JSON", "vm-find", "\x00\xff"),
		raw("slot 0", "net-attach", `{"id":"`+o.fresh.ID+`","slot":0}`),
		raw("a slot beyond all", "net-attach", `{"id":"`+o.fresh.ID+`","slot":99999999}`),
	}
}

// send sends a request unchanged. If the helper does not answer at all, that counts as
// a refusal.
func send(verb, body string, files []*os.File) error {
	conn, err := net.Dial("unixpacket", paths.RootSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(askTime))
	raw := json.RawMessage(body)
	if !json.Valid(raw) {
		raw = json.RawMessage(`"` + hex.EncodeToString(raw) + `"`)
	}
	if err := rootapi.Send(conn.(*net.UnixConn), rootapi.Request{Protocol: "1", Version: "attack", Verb: rootapi.Verb(verb), Body: raw}, files); err != nil {
		return err
	}
	r, got, err := rootapi.ReadResponse(conn.(*net.UnixConn))
	rootapi.CloseAll(got)
	if err != nil {
		return err
	}
	if r.Error != nil {
		return r.Error
	}
	return nil
}

// disks are files that must not become a disk.
func (o *ownerAttacks) disks() []attack {
	attach := func(what, mode string, files ...func() (*os.File, error)) attack {
		return attack{"attach " + what, func() error {
			var opened []*os.File
			defer func() { rootapi.CloseAll(opened) }()
			for _, open := range files {
				f, err := open()
				if err != nil {
					return fmt.Errorf("the attack could not be made: %w", err)
				}
				opened = append(opened, f)
			}
			err := ask(rootapi.DiskAttachCall{VM: o.fresh, Mode: mode}, nil, opened...)
			_ = ask(rootapi.VMReleaseCall{VM: o.fresh}, nil)
			return err
		}}
	}
	at := func(path string, flags int) func() (*os.File, error) {
		return func() (*os.File, error) { return os.OpenFile(path, flags, 0) }
	}
	base := at(o.base, os.O_RDONLY)
	return []attack{
		attach("a chunk size that takes the kernel's memory", rootapi.Snapshot, base, o.cow(0x70416e53, 1, 1, 1<<21)),
		attach("a header of another version", rootapi.Snapshot, base, o.cow(0x70416e53, 1, 2, 8)),
		attach("a file with another header", rootapi.Snapshot, base, o.cow(0x12345678, 1, 1, 8)),
		attach("a file that may only be read", rootapi.Plain, base),
		attach("a character device", rootapi.Plain, at("/dev/null", os.O_RDWR)),
		attach("a directory", rootapi.Plain, at(o.dir, os.O_RDONLY)),
		attach("a pipe", rootapi.Plain, func() (*os.File, error) {
			if err := unix.Mkfifo(o.path("pipe"), 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
				return nil, err
			}
			return os.OpenFile(o.path("pipe"), os.O_RDWR, 0)
		}),
		attach("a descriptor that names a file only", rootapi.Plain, at(o.base, unix.O_PATH)),
	}
}

// cow makes a copy-on-write file with a header of dm-snap-persistent.c.
func (o *ownerAttacks) cow(header ...uint32) func() (*os.File, error) {
	return func() (*os.File, error) {
		f := sparse(o.path("cow"), 64<<20)
		var b bytes.Buffer
		for _, field := range header {
			_ = binary.Write(&b, binary.LittleEndian, field)
		}
		_, err := f.WriteAt(b.Bytes(), 0)
		return f, err
	}
}

// sparse makes a file that uses no space.
func sparse(path string, size int64) *os.File {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		panic(err)
	}
	return f
}

// starts are VMs that must not start.
func (o *ownerAttacks) starts() []attack {
	none := strings.Repeat("0", 64)
	call := rootapi.VMStartCall{VM: o.fresh, Slot: o.slot, VMM: rootapi.QEMU, Accel: "tcg", VCPUs: 1, MemoryMiB: 128, Kernel: none, Initramfs: none}
	start := func(what string, call rootapi.VMStartCall, log func() (*os.File, error)) attack {
		return attack{"start " + what, func() error {
			f, err := log()
			if err != nil {
				return fmt.Errorf("the attack could not be made: %w", err)
			}
			defer f.Close()
			err = ask(call, nil, f, f)
			_ = ask(rootapi.VMReleaseCall{VM: o.fresh}, nil)
			return err
		}}
	}
	log := func() (*os.File, error) {
		return os.OpenFile(o.path("log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	}
	return []attack{
		start("with boot files that are not stored", call, log),
		start("with a log that can be written anywhere", call, func() (*os.File, error) { return os.OpenFile(o.path("log"), os.O_WRONLY|os.O_CREATE, 0o600) }),
		start("with a log that is a device", call, func() (*os.File, error) { return os.OpenFile("/dev/null", os.O_WRONLY|os.O_APPEND, 0) }),
		start("with a kernel command line that ends QEMU's argument", func() rootapi.VMStartCall { c := call; c.Cmdline = `a",b`; return c }(), log),
	}
}

// bootFile makes the helper store a file.
func (o *ownerAttacks) bootFile(f *os.File) error {
	defer f.Close()
	h := sha256.New()
	if _, err := f.WriteTo(h); err != nil {
		return err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	return ask(rootapi.BootPutCall{Digest: hex.EncodeToString(h.Sum(nil))}, nil, f)
}

// bootFiles makes the helper store many small files, and counts them afterwards.
func (o *ownerAttacks) bootFiles() error {
	const many = 100
	for i := range many {
		f := sparse(o.path("boot"), 4096)
		fmt.Fprintf(f, "attack %d", i)
		if _, err := f.Seek(0, 0); err != nil {
			return err
		}
		if err := o.bootFile(f); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(paths.BootFiles)
	if err != nil {
		return err
	}
	if len(entries) >= many {
		return nil
	}
	return fmt.Errorf("of %d files %d are stored", many, len(entries))
}

// idle opens connections without sending anything, and checks whether another one is
// served.
func (o *ownerAttacks) idle() error {
	const many = 200
	for range many {
		conn, err := net.DialTimeout("unixpacket", paths.RootSocket, time.Second)
		if err != nil {
			break // the queue is full
		}
		defer conn.Close()
	}
	if err := ask(rootapi.HelloCall{}, nil); err != nil {
		return nil
	}
	return errors.New("it answers others nevertheless")
}
