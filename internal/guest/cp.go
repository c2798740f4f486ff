package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"banger/api"
	"banger/internal/guest/filecopy"
	"banger/internal/guest/stdio"
)

// CopyOptions say how CopyIn and CopyOut copy.
type CopyOptions struct {
	// Archive preserves owners, if the receiver may set them; otherwise everything belongs
	// to the receiver: to root in the guest.
	Archive bool
	// Warnings, unless nil, receives a line for each entry that was skipped.
	Warnings io.Writer
	// Report, unless nil, receives the progress.
	Report api.Report
}

// The target follows `docker cp`: if it is a directory, the copy is created in it under the
// source's name; otherwise the target is the copy's name, and its parent has to exist. A
// source that ends in "/." means only its contents.

// CopyIn copies a file or directory of this host into the guest.
func (c *Client) CopyIn(ctx context.Context, from, to string, o CopyOptions) error {
	info, err := os.Stat(from)
	if err != nil {
		return api.Errorf(api.KindNotFound, "cannot copy %s: %w", from, err)
	}
	if what := filecopy.Special(info.Mode()); what != "" {
		return api.Errorf(api.KindInvalid, "cannot copy %s: it is %s", from, what).
			WithHint("banger vm exec NAME -- sh -c 'cat > FILE' < %s   copies its output to a file", from)
	}
	dir, name, err := target(to, sourceName(from), info.IsDir(), func(p string) (bool, error) {
		st, err := c.Stat(ctx, p)
		return st.IsDir, err
	}, path.Split)
	if err != nil {
		return err
	}
	return c.send(ctx, stdio.Copy{Path: dir, Name: name, Archive: o.Archive}, filecopy.Source{File: from}, name, from, o)
}

// Place copies a source of this host into the guest as the file or directory to, an absolute
// path. What exists there already is replaced, a directory is merged. The missing directories
// above it are made like above, whose name does not count.
func (c *Client) Place(ctx context.Context, from filecopy.Source, to string, above filecopy.Entry, o CopyOptions) error {
	name := strings.TrimPrefix(path.Clean(to), "/")
	if name == "" {
		name = "."
	}
	top := name
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		st, err := c.Stat(ctx, "/"+dir)
		switch {
		case err == nil && !st.IsDir:
			return api.Errorf(api.KindInvalid, "cannot copy to %s: /%s is not a directory in the guest", to, dir)
		case err != nil && !isMissing(err):
			return err
		}
		if err == nil {
			break
		}
		above.Type, above.Name, top = filecopy.Dir, dir, dir
		from.Above = slices.Insert(from.Above, 0, above)
	}
	return c.send(ctx, stdio.Copy{Path: "/", Name: top, Archive: o.Archive}, from, name, from.File, o)
}

// send sends a source under a name into the directory of at. called is its name in errors.
func (c *Client) send(ctx context.Context, at stdio.Copy, from filecopy.Source, name, called string, o CopyOptions) error {
	s, err := c.open(ctx, stdio.Open{CopyIn: &at})
	if err != nil {
		return err
	}
	defer s.Close()
	s.work.Go(func() { copyWarnings(o.Warnings, s.Stderr) })
	sendErr := filecopy.SendFrom(ctx, s.Stdout, s.Stdin, from, name, o.reporter("copying "+called))
	if sendErr != nil && !errors.Is(sendErr, filecopy.ErrUnread) && !over(sendErr) {
		return api.Errorf(filecopy.KindOf(sendErr), "cannot copy %s: %w", called, sendErr)
	}
	_ = s.Stdin.Close() // fails if the agent has ended the session: Wait returns why
	if _, err := s.Wait(ctx); err != nil {
		return err
	}
	if sendErr != nil {
		return api.Errorf(filecopy.KindOf(sendErr), "cannot copy all of %s: %w", called, sendErr)
	}
	return nil
}

// CopyOut copies a file or directory of the guest to this host. Whatever the guest sends is
// only created under the name of from or below it.
func (c *Client) CopyOut(ctx context.Context, from, to string, o CopyOptions) error {
	st, err := c.Stat(ctx, from)
	if err != nil {
		return err
	}
	if what := filecopy.Special(fs.FileMode(st.Mode)); what != "" {
		return api.Errorf(api.KindInvalid, "cannot copy %s: it is %s in the guest", from, what)
	}
	dir, name, err := target(to, guestName(from), st.IsDir, func(p string) (bool, error) {
		info, err := os.Stat(p)
		return err == nil && info.IsDir(), err
	}, filepath.Split)
	if err != nil {
		return err
	}
	s, err := c.open(ctx, stdio.Open{CopyOut: &stdio.Copy{Path: from, Name: name}})
	if err != nil {
		return err
	}
	defer s.Close()
	s.work.Go(func() { copyWarnings(o.Warnings, s.Stderr) })
	err = filecopy.Receive(s.Stdout, s.Stdin, dir, name, filecopy.Options{Archive: o.Archive, Warn: warner(o.Warnings)}, o.reporter("copying "+from))
	if err != nil && !over(err) {
		return copyOutError(from, to, err)
	}
	if _, err := s.Wait(ctx); err != nil {
		return err
	}
	if err != nil {
		return copyOutError(from, to, err)
	}
	return nil
}

func copyOutError(from, to string, err error) error {
	kind := filecopy.KindOf(err)
	e := api.Errorf(kind, "cannot copy %s to %s: %w", from, to, err)
	if kind == api.KindNoSpace {
		return e.WithHint("free space on this host and copy again; a large file continues where it stopped")
	}
	return e
}

// over reports whether the session has ended: then it knows the reason better than err.
func over(err error) bool {
	return errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// reporter turns the copy's progress into a report.
func (o CopyOptions) reporter(message string) func(filecopy.Progress) {
	if o.Report == nil {
		return nil
	}
	return func(p filecopy.Progress) {
		text := message
		if p.TotalFiles > 1 {
			text = fmt.Sprintf("%s: file %d of %d", message, min(p.Files+1, p.TotalFiles), p.TotalFiles)
		}
		o.Report(api.Progress{Step: "copy", Message: text, Done: p.Bytes, Total: p.TotalBytes, Unit: "bytes"})
	}
}

func contentsOnly(p string) bool { return p == "." || strings.HasSuffix(p, "/.") }

func sourceName(from string) string {
	if contentsOnly(from) {
		return "."
	}
	if abs, err := filepath.Abs(from); err == nil {
		from = abs
	}
	if name := filepath.Base(from); name != "/" {
		return name
	}
	return "."
}

// target decides the directory to unpack in and the name of the copy there.
func target(to, source string, isDir bool, look func(string) (bool, error), split func(string) (string, string)) (dir, name string, err error) {
	toDir, err := look(to)
	switch {
	case err == nil && toDir:
		return to, source, nil
	case err == nil && isDir:
		return "", "", api.Errorf(api.KindInvalid, "cannot copy a directory onto %s, which is a file", to)
	case err == nil && strings.HasSuffix(to, "/"):
		return "", "", api.Errorf(api.KindInvalid, "cannot copy to %s: it is a file, not a directory", to)
	case err != nil && !isMissing(err):
		return "", "", err
	case err != nil && strings.HasSuffix(to, "/") && !isDir:
		return "", "", api.Errorf(api.KindNotFound, "cannot copy to %s: no such directory", to)
	}
	dir, name = split(strings.TrimRight(to, "/"))
	if dir == "" {
		dir = "."
	}
	if toDir, err = look(dir); err != nil || !toDir {
		return "", "", api.Errorf(api.KindNotFound, "cannot copy to %s: %s is not a directory", to, dir)
	}
	return dir, name, nil
}

// guestName returns the name of a copy of a path in the guest. It does not ask the guest,
// which could name any file beside the copy.
func guestName(from string) string {
	if contentsOnly(from) {
		return "."
	}
	if name := path.Base(path.Clean(from)); name != "/" && name != ".." {
		return name
	}
	return "."
}

func warner(to io.Writer) func(name, what string) {
	if to == nil {
		to = io.Discard
	}
	return func(name, what string) { fmt.Fprintf(plainWriter{to}, "banger: %s %s\n", filecopy.Quote(name), what) }
}
