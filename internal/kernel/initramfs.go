package kernel

import (
	"fmt"
	"io"
)

// writeInitramfs writes an initramfs of the agent and the modules that it loads. It is
// not compressed: for an emulated guest decompressing takes longer than copying, and
// the host has the file in its page cache.
func writeInitramfs(w io.Writer, agent []byte, modules []module) error {
	c := &cpioWriter{w: w}
	for _, dir := range []string{"dev", "proc", "sys", "newroot", "modules"} {
		c.dir(dir)
	}
	c.device("dev/console", 5, 1) // Documentation/admin-guide/devices.txt
	c.device("dev/null", 1, 3)    // opened by a Go program that starts without descriptors
	c.file("init", modeExec, agent)
	for i, m := range modules {
		c.file(moduleFile(i, m.name), modeFile, m.data)
	}
	return c.close()
}

// moduleFile names a module so that the names sort in load order.
func moduleFile(i int, name string) string { return fmt.Sprintf("modules/%02d-%s.ko", i, name) }
