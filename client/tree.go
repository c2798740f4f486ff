package client

import (
	"context"
	"io"

	"banger/internal/guest/manifest"
)

// The types of entries of Tree.
const (
	TreeFile  = manifest.File
	TreeDir   = manifest.Dir
	TreeLink  = manifest.Link // a symbolic link
	TreeOther = manifest.Other
)

// TreeEntry describes a file, a directory or a link in a guest, without its content. A guest can
// give any description: only the form of Path is checked.
type TreeEntry struct {
	Path  string // relative to the directory, clean, with slashes; of any bytes but 0
	Type  string // TreeFile, TreeDir, TreeLink or TreeOther
	Mode  uint32 // the lower 12 bits of stat(2)'s st_mode
	Size  int64  // in bytes, as stat(2) has it
	MTime int64  // of the last change of the content: nanoseconds since 1970
	CTime int64  // of the last change of content or attributes: nanoseconds since 1970
	Inode uint64 // its number in its file system
	Link  string // a link's target, of any bytes but 0
	// Skipped means that what is in the directory is not listed, as requested.
	Skipped bool
	// Unread is why it is not known what is in a directory, or what else the path is: it may
	// have any content. It is empty if that is known.
	Unread string
}

// TreeOptions say what Tree lists. The zero value lists everything, up to the default limits.
type TreeOptions struct {
	// Skip are directories whose content is left out: names such as node_modules, wherever they
	// are, and paths, which have a slash, such as /build or web/dist.
	Skip []string
	// Only, unless it is empty, are the directories whose entries are listed: relative, clean, "." is
	// the top. Of what is above one, the list has the directories that lead there; what is below one
	// is listed if it is in Only itself.
	// An agent that was started before there was this option lists everything.
	Only []string
	// Entries and Bytes limit the list: how many entries it has, and how many bytes it takes
	// in transfer: 10 to 30, and the name, for each. 0 means 1,000,000 and 128 MiB. A list beyond
	// them is an error.
	Entries int64
	Bytes   int64
}

// Tree lists what is below a directory of the guest, and follows no symbolic links there. It calls
// each with one entry after the other: a directory before what is in it, and the names of a
// directory in the order of their bytes. An error of each ends it and is returned.
//
// What changes meanwhile may be in the list as before, as after, or missing. A file that is
// written again within a clock tick of the guest's kernel, some milliseconds, may keep its times.
func (g *Guest) Tree(ctx context.Context, path string, o TreeOptions, each func(TreeEntry) error) error {
	return g.agent.Tree(ctx, path, manifest.Options(o), func(e manifest.Entry) error { return each(TreeEntry(e)) })
}

// FetchedFile is one of the files that Fetch fetches. It is valid until the function that was
// called with it returns.
type FetchedFile struct {
	// TreeEntry describes the file as it was when it was opened. Path is the name that was
	// requested, and all that is known if there is an Err.
	TreeEntry
	// Err is the reason for a missing content: of kind not_found if the file does not exist, of kind
	// invalid if the path leads to neither a file nor a link.
	Err error
	// Content is the content of a file, or the target of a link; nil if there is an Err. That of
	// a file has Size bytes, or ends with an error.
	Content io.Reader

	fetched manifest.Fetched
}

// After reads the rest of the content, and returns how the file was then. cut means that it has
// more bytes than those Size that Content had: it grows, or is one of those whose size Linux does
// not know. The error is that of Content, or Err.
func (f FetchedFile) After() (e TreeEntry, cut bool, err error) {
	after, cut, err := f.fetched.After()
	return TreeEntry(after), cut, err
}

// Fetch fetches files and links below a directory of the guest, and calls each with one after the
// other, in the order of names. Names are relative to the directory and clean; no symbolic link
// in one is followed. An error of each ends it and is returned.
//
// A guest can send a content of any Size, which each may refuse. The rest of a content that each
// does not read is received and dropped.
func (g *Guest) Fetch(ctx context.Context, dir string, names []string, each func(FetchedFile) error) error {
	return g.agent.Fetch(ctx, dir, names, func(f manifest.Fetched) error {
		return each(FetchedFile{TreeEntry(f.Entry), f.Err, f.Content, f})
	})
}
