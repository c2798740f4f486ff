package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"
)

// modinfo is a module's own description, from which depmod computes dependencies;
// packages do not contain modules.dep, it is created at installation.
type modinfo struct {
	depends  []string
	softdeps []string // to be loaded before, if they exist: names or aliases
	softdep  []string // in the format of modprobe.d(5), with those to be loaded after
	aliases  []string
}

// parseModinfo parses the .modinfo section of an uncompressed module: NUL-terminated
// strings such as "depends=a,b".
func parseModinfo(module []byte) (modinfo, error) {
	var info modinfo
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return info, fmt.Errorf("not a kernel module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil || section.Type == elf.SHT_NOBITS || section.Size > 1<<20 {
		return info, fmt.Errorf("not a kernel module: it has no usable .modinfo")
	}
	data, err := section.Data()
	if err != nil {
		return info, fmt.Errorf("read .modinfo: %w", err)
	}
	for entry := range strings.SplitSeq(string(data), "\x00") {
		key, value, _ := strings.Cut(entry, "=")
		switch key {
		case "depends":
			for name := range strings.SplitSeq(value, ",") {
				if name != "" {
					info.depends = append(info.depends, moduleName(name))
				}
			}
		case "softdep":
			info.softdeps = append(info.softdeps, preDeps(value)...)
			info.softdep = append(info.softdep, value)
		case "alias":
			if isASCII(value) {
				info.aliases = append(info.aliases, value)
			}
		}
	}
	return info, nil
}

// preDeps returns the names between "pre:" and "post:" (modprobe.d(5)).
func preDeps(value string) []string {
	var names []string
	pre := false
	for _, word := range strings.Fields(value) {
		switch {
		case strings.HasSuffix(word, ":"):
			pre = word == "pre:"
		case pre:
			names = append(names, word)
		}
	}
	return names
}

// moduleName normalizes a module's name as the kernel does.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
