package image

import (
	"hash/maphash"
	"path"
	"strings"

	"banger/api"
)

// The names by which a layer takes away what is in the layers below it
// (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	// metaPrefix is that of AUFS's own files, which some old layers have.
	metaPrefix = ".wh..wh."
)

// layer is what one layer has made so far: it is not what its own whiteouts
// take away, and it names nothing twice. Only hashes of names are kept, so that
// an archive of millions of names stays small in memory; their seed is random,
// so that nobody can make two names meet.
type layer struct {
	seed   maphash.Seed
	made   map[uint64]way
	parent string // of the last entry
}

// way is how a layer has named something.
type way uint8

const (
	onTheWay  way = iota // as a part of the names of others only
	directory            // as a directory
	other
)

func newLayer() *layer {
	return &layer{seed: maphash.MakeSeed(), made: map[uint64]way{}, parent: "."}
}

func (l *layer) key(name string) uint64 { return maphash.String(l.seed, name) }

// has says whether the layer has made something of that name, or below it.
func (l *layer) has(name string) bool {
	_, ok := l.made[l.key(name)]
	return ok
}

// add notes an entry. A directory may be named again, as some programs do.
func (l *layer) add(name string, isDir bool) error {
	how, key := other, l.key(name)
	if isDir {
		how = directory
	}
	if before, ok := l.made[key]; ok && (before == other || how == other) {
		return api.Errorf(api.KindInvalid, "cannot unpack %.200q: the layer has it twice", name)
	}
	l.made[key] = how
	if parent := path.Dir(name); parent != l.parent {
		l.parent = parent
		for dir := parent; dir != "."; dir = path.Dir(dir) {
			if how, ok := l.made[l.key(dir)]; ok {
				if how == other {
					return api.Errorf(api.KindInvalid, "cannot unpack %.200q: the layer has %.200q as a file", name, dir)
				}
				break
			}
			l.made[l.key(dir)] = onTheWay
		}
	}
	return nil
}

// whiteout does what the name of an entry asks for, where it is a whiteout.
func (u *unpacker) whiteout(name string) (bool, error) {
	dir, base := path.Dir(name), path.Base(name)
	for part := range strings.SplitSeq(dir, "/") {
		if strings.HasPrefix(part, metaPrefix) {
			return true, nil
		}
		if strings.HasPrefix(part, whiteoutPrefix) {
			return true, badName(name, "is below a whiteout")
		}
	}
	hidden, ok := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case !ok:
		return false, nil
	case base == opaqueName:
		return true, u.tree.empty(dir, u.layer.has)
	case strings.HasPrefix(base, metaPrefix):
		return true, nil
	case hidden == "" || hidden == "." || hidden == "..":
		return true, badName(name, "is a whiteout of nothing")
	}
	return true, u.tree.remove(path.Join(dir, hidden), u.layer.has)
}
