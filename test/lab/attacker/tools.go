package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/godbus/dbus/v5"
)

// sleep does nothing for a number of seconds.
func sleep(args []string) error {
	seconds, err := strconv.Atoi(args[0])
	time.Sleep(time.Duration(seconds) * time.Second)
	return err
}

// memory allocates memory, and writes to it, until it is killed or has allocated a
// number of MiB.
func memory(args []string) error {
	most, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var taken [][]byte
	for range most {
		page := make([]byte, 1<<20)
		for i := 0; i < len(page); i += 4096 {
			page[i] = 1
		}
		taken = append(taken, page)
	}
	fmt.Printf("has %d MiB\n", len(taken))
	return nil
}

// crowd fills the table of processes for a time: count processes, each with a command
// line of the given length in bytes that contains the given names, most of which is
// NULs: many empty arguments for a program that splits them.
func crowd(args []string) error {
	count, bytes, seconds := numbers(args, "count")[0], numbers(args, "bytes")[0], numbers(args, "seconds")[0]
	argv := []string{"firecracker", "nuls", strconv.Itoa(seconds), option(args, "names")}
	// No argument may be longer than 128 KiB (MAX_ARG_STRLEN, execve(2)).
	for ; bytes > 0; bytes -= maxArg {
		argv = append(argv, strings.Repeat("x", min(bytes, maxArg)))
	}
	var pids []int
	for range count {
		pid, err := syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
		if err != nil {
			return fmt.Errorf("only %d of %d processes: %w", len(pids), count, err)
		}
		pids = append(pids, pid)
	}
	fmt.Printf("%d processes\n", len(pids))
	for _, pid := range pids {
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	}
	return nil
}

const maxArg = 120 << 10

// nuls overwrites its own long arguments, which /proc/PID/cmdline shows (proc(5)), and
// sleeps.
func nuls(args []string) error {
	for _, arg := range args[2:] {
		clear(unsafe.Slice(unsafe.StringData(arg), len(arg)))
	}
	return sleep(args)
}

// forge sends signals on the system's message bus, for a time, that jobs of units have
// ended: for each job number of a range, to all and to each client.
func forge(args []string) error {
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return err
	}
	defer conn.Close()
	seconds, result := numbers(args, "seconds")[0], option(args, "result")
	deadline := time.Now().Add(time.Duration(seconds) * time.Second)
	sent := 0
	for time.Now().Before(deadline) {
		var names []string
		if err := conn.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil {
			return err
		}
		to := []string{""}
		for _, name := range names {
			if strings.HasPrefix(name, ":") {
				to = append(to, name)
			}
		}
		for unit := range strings.SplitSeq(option(args, "units"), ",") {
			for job := range uint32(80) {
				job += uint32(numbers(args, "from")[0])
				for _, name := range to {
					if err := tell(conn, name, job, unit, result); err != nil {
						return err
					}
					sent++
				}
			}
		}
	}
	fmt.Fprintf(os.Stdout, "%d signals\n", sent)
	return nil
}

// tell sends the signal JobRemoved of org.freedesktop.systemd1(5), to a name or to all.
func tell(conn *dbus.Conn, name string, job uint32, unit, result string) error {
	path := dbus.ObjectPath(fmt.Sprintf("/org/freedesktop/systemd1/job/%d", job))
	m := &dbus.Message{Type: dbus.TypeSignal, Flags: dbus.FlagNoReplyExpected, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldInterface: dbus.MakeVariant("org.freedesktop.systemd1.Manager"),
		dbus.FieldMember:    dbus.MakeVariant("JobRemoved"),
		dbus.FieldPath:      dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/systemd1")),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(job, path, unit, result)),
	}, Body: []any{job, path, unit, result}}
	if name != "" {
		m.Headers[dbus.FieldDestination] = dbus.MakeVariant(name)
	}
	return conn.Send(m, nil).Err
}
