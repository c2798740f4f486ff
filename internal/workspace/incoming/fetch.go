package incoming

import (
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/workspace/objects"
)

// fetch writes what the guest has and the repository has not into the quarantine: below work
// at its own path, where git filters it, or below raw.
func (i *importer) fetch(ctx context.Context) error {
	wanted := map[string]*change{}
	var names []string
	var sum int64
	for n, c := range i.changed {
		switch {
		case c.id != "":
		case c.entry.Type == TypeLink:
			if _, err := writeNew(i.raw(n), 0o600, strings.NewReader(c.entry.Link)); err != nil {
				return err
			}
		case c.entry.Type == TypeFile:
			if err := i.Limits.check(c.entry.Path, c.entry.Size, &sum); err != nil {
				return err
			}
			wanted[c.entry.Path] = c
			names = append(names, c.entry.Path)
		}
	}
	if len(names) == 0 {
		return nil
	}
	places := i.places()
	err := i.guest.Fetch(ctx, names, func(name string, content io.Reader) error {
		c := wanted[name]
		if c == nil {
			return malformed(name, "it was not asked for, or came twice")
		}
		delete(wanted, name)
		return i.receive(c, places[name], content)
	})
	for name, c := range wanted {
		if err != nil {
			break
		}
		// It was listed, and is not there any more.
		i.warn(name, "it was removed while it was imported")
		c.entry, c.mode = Entry{Path: name}, ""
	}
	return err
}

// check refuses a file that exceeds the limits.
func (l Limits) check(name string, size int64, sum *int64) error {
	if size > l.File {
		return tooLarge("%.100q has more than %d bytes, the limit of one file", name, l.File)
	}
	if *sum > l.Total-size {
		return tooLarge("with %.100q there are more than %d bytes to fetch, the limit of all files", name, l.Total)
	}
	*sum += size
	return nil
}

func tooLarge(format string, args ...any) error {
	return api.Errorf(api.KindInvalid, "cannot import the guest's files: "+format, args...).
		WithHint("remove it in the guest, add it to .gitignore there, or raise the limit")
}

// raw is where the content of the nth change lies that no filter applies to.
func (i *importer) raw(n int) string { return i.quarantine.path("raw", strconv.Itoa(n)) }

// isRaw reports whether a change is not filtered: links, and .gitattributes files. In work the
// latter would decide about filters, and those of the shipped snapshot do.
func isRaw(c *change) bool {
	return c.entry.Type == TypeLink || strings.EqualFold(path.Base(c.entry.Path), ".gitattributes")
}

// places returns where the content of each change is written.
func (i *importer) places() map[string]string {
	places := make(map[string]string, len(i.changed))
	for n, c := range i.changed {
		places[c.entry.Path] = i.quarantine.path("work", filepath.FromSlash(c.entry.Path))
		if isRaw(c) {
			places[c.entry.Path] = i.raw(n)
		}
	}
	return places
}

// receive writes a file's content. The guest may send more than it listed.
func (i *importer) receive(c *change, place string, content io.Reader) error {
	name, mode := c.entry.Path, os.FileMode(0o600)
	if c.mode == objects.ModeExec {
		mode = 0o700
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	size, err := writeNew(place, mode, io.LimitReader(content, min(i.Limits.File, i.Limits.Total-i.result.Bytes)+1))
	if err != nil {
		return err
	}
	i.result.Fetched++
	return i.Limits.check(name, size, &i.result.Bytes)
}

// writeNew writes a file that does not exist yet.
func writeNew(place string, mode os.FileMode, content io.Reader) (int64, error) {
	f, err := os.OpenFile(place, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return 0, err
	}
	size, err := io.Copy(f, content)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return size, err
}
