package sshconfig

import (
	"bytes"
	"strings"

	"banger/api"
)

// The lines around banger's. The second first line records that banger created the
// file: then it is removed with its last line.
const (
	begin     = "# BEGIN banger (banger ssh-config --uninstall takes this out)\n"
	beginMade = "# BEGIN banger, which made this file (banger ssh-config --uninstall takes this out)\n"
	end       = "# END banger\n"
)

// maxConfig is more bytes than any configuration has.
const maxConfig = 1 << 20

// fenced is a configuration, split into banger's lines and the others.
type fenced struct {
	rest  []byte // without banger's lines
	there bool   // it contained banger's lines
	made  bool   // banger created the file
}

// take removes banger's lines from a configuration. It refuses lines that were changed.
func take(config []byte) (fenced, error) {
	if len(config) > maxConfig || bytes.IndexByte(config, 0) >= 0 {
		return fenced{}, api.Errorf(api.KindInvalid, "it is not a configuration of ssh")
	}
	f := fenced{rest: make([]byte, 0, len(config))}
	lines := bytes.SplitAfter(config, []byte("\n"))
	for i := 0; i < len(lines); i++ {
		line := string(lines[i])
		if !mark(line) {
			f.rest = append(f.rest, lines[i]...)
			continue
		}
		if f.there || line != begin && line != beginMade || i+2 >= len(lines) ||
			!strings.HasPrefix(string(lines[i+1]), "Include ") || string(lines[i+2]) != end {
			return fenced{}, api.Errorf(api.KindConflict, "line %d, or a line that belongs to it, was changed since banger wrote it", i+1).
				WithHint("remove the lines between BEGIN banger and END banger by hand")
		}
		f.there, f.made = true, line == beginMade
		i += 2
	}
	return f, nil
}

// mark reports whether a line is, or looks like, one of those around banger's.
func mark(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, "# BEGIN banger") || strings.HasPrefix(line, "# END banger")
}

// put adds banger's lines at the top: lines after a Host line apply to that host only
// (ssh_config(5), Include).
func put(rest []byte, include string, made bool) []byte {
	first := begin
	if made {
		first = beginMade
	}
	return append([]byte(first+"Include \""+include+"\"\n"+end), rest...)
}
