package rootfs

import (
	"hash/maphash"
	"path"
	"strings"

	"banger/api"
	"banger/internal/image/oci"
)

// The file names by which a layer deletes files of the layers below it
// (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
const (
	whiteoutPrefix = oci.WhiteoutPrefix
	opaqueName     = ".wh..wh..opq"
	// metaPrefix is the prefix of AUFS's own files, which some old layers contain.
	metaPrefix = ".wh..wh."
)

// layer records what one layer has created so far: its own whiteouts do not delete
// that, and it may not name anything twice. It stores only hashes of names, so that an
// archive of millions of names needs little memory; their seed is random, so that
// nobody can construct colliding names.
type layer struct {
	seed   maphash.Seed
	made   map[uint64]naming
	parent string // the directory of the last entry
}

// naming is how a layer has named a file.
type naming uint8

const (
	asParent    naming = iota // only as a parent of other names
	asDirectory               // as a directory's own entry
	asOther
)

func newLayer() *layer {
	return &layer{seed: maphash.MakeSeed(), made: map[uint64]naming{}, parent: "."}
}

func (l *layer) key(name string) uint64 { return maphash.String(l.seed, name) }

// has reports whether the layer has created that name, or something below it.
func (l *layer) has(name string) bool {
	_, ok := l.made[l.key(name)]
	return ok
}

// add records an entry. A directory may be named again, as some programs do.
func (l *layer) add(name string, isDir bool) error {
	how, key := asOther, l.key(name)
	if isDir {
		how = asDirectory
	}
	if before, ok := l.made[key]; ok && (before == asOther || how == asOther) {
		return api.Errorf(api.KindInvalid, "cannot unpack %.200q: the layer contains it twice", name)
	}
	l.made[key] = how
	if parent := path.Dir(name); parent != l.parent {
		l.parent = parent
		for dir := parent; dir != "."; dir = path.Dir(dir) {
			if how, ok := l.made[l.key(dir)]; ok {
				if how == asOther {
					return api.Errorf(api.KindInvalid, "cannot unpack %.200q: the layer contains %.200q as a file", name, dir)
				}
				break
			}
			l.made[l.key(dir)] = asParent
		}
	}
	return nil
}

// whiteout applies an entry if it is a whiteout.
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
		return true, badName(name, "is a whiteout without a name")
	}
	return true, u.tree.remove(path.Join(dir, hidden), u.layer.has)
}
