package incoming

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"os"
	"strings"

	"banger/api"
	"banger/internal/faultpoint"
)

// author is the beginning of the author's name of every commit that Import makes.
const author = "banger guest of "

// fewObjects is the number of objects from which a pack is kept as one (receive.unpackLimit in
// git-config(1)).
const fewObjects = 100

// makeCommit makes the commit in the quarantine, unless the tree is a known one.
func (i *importer) makeCommit(ctx context.Context) error {
	known, err := i.knownCommit(ctx)
	if err != nil || known != "" {
		i.result.Commit = known
		return err
	}
	name, email := author+i.VM, "guest@banger.invalid"
	env := append([]string{
		"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + email,
		"GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + email,
	}, i.quarantine.env...)
	message := strings.NewReader(cmp.Or(i.Message, "The files of VM "+i.VM) + "\n")
	out, err := i.repo.Git(ctx, env, message, "-c", "i18n.commitEncoding=UTF-8", "commit-tree", i.result.Tree, "-p", i.Shipped.Commit)
	i.result.Commit, i.result.New = strings.TrimSpace(string(out)), true
	return err
}

// knownCommit returns the shipped snapshot if the tree is the same, or else the newest commit
// that was made of the guest since then, if that has the tree.
func (i *importer) knownCommit(ctx context.Context) (string, error) {
	if i.result.Tree == i.baseTree {
		return i.Shipped.Commit, nil
	}
	out, err := i.repo.Git(ctx, nil, nil, "for-each-ref", "--sort=-version:refname", "--format=%(objectname) %(tree) %(parent) %(authorname)", "refs/banger/"+i.VM+"/")
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		f := strings.SplitN(line, " ", 4)
		if i.Any && len(f) > 1 && f[1] == i.result.Tree {
			return f[0], nil
		}
		if !i.Any && len(f) == 4 && f[2] == i.Shipped.Commit && strings.HasPrefix(f[3], author) {
			if f[1] == i.result.Tree {
				return f[0], nil
			}
			break
		}
	}
	return "", nil
}

// accept has git check all new objects in the quarantine, and then takes them into the
// repository. git refuses trees and objects that could harm (index-pack --strict, as receive-pack
// does with transfer.fsckObjects).
func (i *importer) accept(ctx context.Context) error {
	if !i.result.New {
		return nil
	}
	name, err := i.pack(ctx)
	if err != nil {
		return err
	}
	if _, err := i.git(ctx, "", "index-pack", "--strict", "-o", i.quarantine.path("checked.idx"), name); err != nil {
		return api.Errorf(api.KindOf(err), "the guest's files are refused: %w", err)
	}
	faultpoint.Reach("incoming", "accept")
	pack, err := os.Open(name)
	if err != nil {
		return err
	}
	defer pack.Close()
	// Synced before Record names them: a commit that is lost with the host's power is one whose
	// files the user may have removed in the guest.
	args := []string{"-c", "core.fsync=objects,reference", "-c", "core.fsyncMethod=batch", "index-pack", "--stdin"}
	count, err := countObjects(pack)
	if err == nil && count < fewObjects {
		args = append(args[:4], "unpack-objects", "-q")
	}
	if err == nil {
		_, err = i.repo.Git(ctx, nil, pack, args...)
	}
	return err
}

// pack packs what the quarantine has and returns the name of the file.
func (i *importer) pack(ctx context.Context) (string, error) {
	revisions := i.result.Commit + "\n^" + i.Shipped.Commit + "\n"
	if i.lastThere { // what has been accepted before is not packed again
		revisions += "^" + i.Last.Commit + "\n"
	}
	// Searching for differences between the objects costs more than it saves; git gc does that.
	out, err := i.git(ctx, revisions, "-c", "pack.packSizeLimit=0", "pack-objects", "-q", "--revs", "--window=0", i.quarantine.path("new"))
	return i.quarantine.path("new-" + strings.TrimSpace(string(out)) + ".pack"), err
}

// countObjects reads the number of objects from a pack's header: "PACK", the version, the number
// (gitformat-pack(5)).
func countObjects(pack io.ReaderAt) (uint32, error) {
	header := make([]byte, 12)
	if _, err := pack.ReadAt(header, 0); err != nil || !bytes.HasPrefix(header, []byte("PACK")) {
		return 0, api.Errorf(api.KindInternal, "git pack-objects made a file that is not a pack")
	}
	return binary.BigEndian.Uint32(header[8:]), nil
}

// record gives the commit its name.
func (i *importer) record(ctx context.Context) error {
	if !i.result.New {
		return nil
	}
	return i.Record(ctx, i.result.Commit)
}
