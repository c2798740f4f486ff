package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"strings"
)

// modinfo is what a module says of itself, which is all that depmod knows of
// dependencies; packages carry no modules.dep, it is made when one is installed.
type modinfo struct {
	depends  []string
	softdeps []string // to be loaded before, where they exist: names or aliases, as they are written
	softdep  []string // the same as modprobe.d(5) has it, and what comes after
	aliases  []string
}

// parseModinfo reads the .modinfo section of an uncompressed module: strings
// such as "depends=a,b" that end in NUL.
func parseModinfo(module []byte) (modinfo, error) {
	var info modinfo
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return info, fmt.Errorf("no kernel module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil || section.Type == elf.SHT_NOBITS || section.Size > 1<<20 {
		return info, fmt.Errorf("no kernel module: it has no usable .modinfo")
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

// moduleName is how the kernel writes a module's name.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
