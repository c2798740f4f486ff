package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// earlier knows the turns that earlier runs have passed, with the same programs: a run of all scenarios with
// several pairs takes hours, and may be done in parts.
type earlier struct {
	path  string
	build string // the digest of what is tested, and of the program that tests it
	lines map[string]bool
}

// openEarlier reads the turns that were passed, or forgets them.
func openEarlier(path, build string, forget bool) (*earlier, error) {
	e := &earlier{path: path, lines: map[string]bool{}}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(build, "*"))
	if err != nil {
		return nil, err
	}
	if e.build, err = digest(append(slices.Sorted(slices.Values(files)), program)...); err != nil {
		return nil, err
	}
	if forget {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		e.lines[strings.TrimSuffix(line, "\n")] = true
	}
	return e, nil
}

// line is what is written of a turn.
func (e *earlier) line(turn Turn) (string, error) {
	key, err := e.build, error(nil)
	if turn.Pair != nil {
		var of string
		of, err = digest(turn.Pair.Firecracker, turn.Pair.Jailer)
		key += " " + of
	}
	return key + " " + turn.String(), err
}

// has reports whether a turn was passed.
func (e *earlier) has(turn Turn) bool {
	line, err := e.line(turn)
	return err == nil && e.lines[line]
}

// add records a turn that was passed.
func (e *earlier) add(turn Turn) error {
	line, err := e.line(turn)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(e.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// digest is one of the contents of some files, shortened to what tells builds apart.
func digest(files ...string) (string, error) {
	all := sha256.New()
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("cannot read %s: %w", path, err)
		}
		all.Write(h.Sum(nil))
	}
	return hex.EncodeToString(all.Sum(nil))[:16], nil
}
