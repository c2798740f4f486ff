package digeststore

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"banger/api"
	"banger/internal/host/fsx"
)

// MetaFile is the record in an object's directory. A directory without a readable one
// was damaged by hand: it is not an object.
const MetaFile = "meta.json"

// Kind describes the objects of a store.
type Kind[O any] struct {
	Name, Plural string // "image" and "images", in messages
	ListCommand  string // the command that lists them, for hints
	// Read reads the object with a digest from its directory. The store may return what
	// it returns more than once: nobody may change it.
	Read func(dir, hex string) (O, error)
	// Created returns when an object was made.
	Created func(O) time.Time
}

// Store holds the objects of one kind. One process at a time may open it: the daemon.
//
// Its directory holds complete objects only: they are renamed into it and out of it. The
// names in memory are those in names.json.
type Store[O any] struct {
	kind    Kind[O]
	dir     string
	staging string

	mu    sync.Mutex // guards names, known, names.json and what is in dir
	names map[string]string
	known map[string]known[O] // by digest: objects whose directory was read
}

// Entry is an object with its digest, in hexadecimal digits, and its names, sorted.
type Entry[O any] struct {
	Hex    string
	Names  []string // not nil
	Object O
}

// Digest returns the digest with its algorithm.
func (e Entry[O]) Digest() string { return algorithm + e.Hex }

// algorithm begins a digest; its digits follow.
const algorithm = "sha256:"

// Hex returns the digits of a digest, which may begin with the algorithm.
func Hex(digest string) string { return strings.TrimPrefix(digest, algorithm) }

// IsHex reports whether s is all digits of a digest.
func IsHex(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// Open opens the store in dir, and makes the directory if it is missing. staging is a
// directory on the same file system, for objects that are being made or removed.
func Open[O any](dir, staging string, kind Kind[O]) (*Store[O], error) {
	s := &Store[O]{kind: kind, dir: dir, staging: staging, names: map[string]string{}, known: map[string]known[O]{}}
	for _, dir := range []string{dir, staging} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fsx.DiskError("make directory", err)
		}
	}
	if err := fsx.RemoveTemporary(s.namesFile()); err != nil {
		return nil, fsx.DiskError("remove the leftovers of a crash", err)
	}
	data, err := os.ReadFile(s.namesFile())
	if err == nil {
		err = json.Unmarshal(data, &s.names)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, api.Errorf(api.KindInternal, "cannot read the names of the %s: %w", kind.Plural, err).
			WithHint("remove %s: the %s stay, their names are lost", s.namesFile(), kind.Plural)
	}
	return s, nil
}

func (s *Store[O]) namesFile() string { return filepath.Join(s.dir, "names.json") }

// Path returns the path of an object's directory, or of something in it.
func (s *Store[O]) Path(hex string, elem ...string) string {
	return filepath.Join(append([]string{s.dir, hex}, elem...)...)
}

// Usage returns how many bytes the store occupies.
func (s *Store[O]) Usage() int64 { return fsx.Usage(s.dir) }

// Meta reads an object's record.
func (s *Store[O]) Meta(hex string, into any) error { return ReadMeta(s.Path(hex), into) }

// ReadMeta reads the record in an object's directory.
func ReadMeta(dir string, into any) error {
	data, err := os.ReadFile(filepath.Join(dir, MetaFile))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// Stage makes a directory in which an object can be made.
func (s *Store[O]) Stage() (string, error) {
	if err := os.MkdirAll(s.staging, 0o700); err != nil {
		return "", fsx.DiskError("make directory", err)
	}
	dir, err := os.MkdirTemp(s.staging, s.kind.Name+"-*")
	if err != nil {
		return "", fsx.DiskError("make directory", err)
	}
	return dir, nil
}

// Used returns the error for an object that cannot be deleted because VMs use it.
func (s *Store[O]) Used(ref string, users []string) error {
	var vms, snapshots, ways []string
	for _, user := range users {
		if name, ok := strings.CutPrefix(user, api.SnapshotUser); ok {
			snapshots = append(snapshots, name)
		} else {
			vms = append(vms, user)
		}
	}
	if vms != nil {
		ways = append(ways, "banger vm delete "+strings.Join(vms, " "))
	}
	if snapshots != nil {
		ways = append(ways, "banger snapshot delete "+strings.Join(snapshots, " "))
	}
	return api.Errorf(api.KindConflict, "cannot delete %s %.80s: it is used by %s", s.kind.Name, ref, strings.Join(users, ", ")).
		WithHint("%s", strings.Join(ways, "; "))
}
