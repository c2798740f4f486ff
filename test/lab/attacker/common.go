package main

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialTime bounds a connection that may be dropped rather than refused.
const dialTime = 4 * time.Second

// reach tries to connect to an address; any answer counts as success.
func reach(network, address string) attack {
	return attack{"connect to " + address, func() error {
		conn, err := net.DialTimeout(network, address, dialTime)
		if err != nil {
			return err
		}
		return conn.Close()
	}}
}

// change tries to change a file. A successful change is undone, for the next attack.
func change(path string) []attack {
	return []attack{
		move(path),
		{"write " + path, func() error {
			f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
			if err != nil {
				return err
			}
			return f.Close()
		}},
		{"change the mode of " + path, func() error {
			info, err := os.Lstat(path)
			if err != nil {
				return err
			}
			return os.Chmod(path, info.Mode().Perm())
		}},
	}
}

// move tries to replace a file or socket.
func move(path string) attack {
	return attack{"rename " + path, func() error {
		if err := os.Rename(path, path+".away"); err != nil {
			return err
		}
		return os.Rename(path+".away", path)
	}}
}

// add tries to create files in a directory.
func add(dir string) []attack {
	path := dir + "/added"
	attempt := func(what string, do func() error) attack {
		return attack{"make a " + what + " in " + dir, func() error {
			if err := do(); err != nil {
				return err
			}
			return os.Remove(path)
		}}
	}
	return []attack{
		attempt("file", func() error { return os.WriteFile(path, []byte("x"), 0o600) }),
		attempt("directory", func() error { return os.Mkdir(path, 0o700) }),
		attempt("symbolic link", func() error { return os.Symlink("/etc/shadow", path) }),
		attempt("FIFO", func() error { return unix.Mkfifo(path, 0o600) }),
		attempt("socket", func() error {
			l, err := net.Listen("unix", path)
			if err != nil {
				return err
			}
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			return l.Close()
		}),
		attempt("block device", func() error { return unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(254, 0))) }),
	}
}

// open tries to open a file for reading.
func open(path string) attack {
	return attack{"open " + path, func() error {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return f.Close()
	}}
}

// harm tries to attack a process: signal 0 only checks the permission (kill(2)).
func harm(pid int) []attack {
	return []attack{
		{fmt.Sprintf("signal process %d", pid), func() error { return syscall.Kill(pid, 0) }},
		{fmt.Sprintf("trace process %d", pid), func() error { return syscall.PtraceAttach(pid) }},
		{fmt.Sprintf("write the memory of process %d", pid), func() error {
			f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			return f.Close()
		}},
	}
}
