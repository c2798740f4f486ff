package bootup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// loadModules loads the modules of dir in the order of their names, which is
// that of their dependencies. Those for the other channel to the host are left.
func loadModules(dir string, vsock bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !needed(e.Name(), vsock) {
			continue
		}
		if err := loadModule(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("load kernel module %s: %w", e.Name(), err)
		}
	}
	return nil
}

// needed tells whether a machine has a use for a module, by its file's name: all
// the modules that vsock needs and nothing else does have it in their names.
func needed(name string, vsock bool) bool {
	if strings.Contains(name, "vsock") {
		return vsock
	}
	return !vsock || !strings.Contains(name, "virtio_console")
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}
