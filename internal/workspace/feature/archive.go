package feature

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"

	"banger/api"
	"banger/internal/guest/filecopy"
	"banger/internal/size"
)

// packer writes the files of one feature as a tar stream for a guest: below one directory, without
// owners and times, and all of them executable, as the specification's program makes them.
type packer struct {
	w       *tar.Writer
	dir     string
	seen    map[string]byte // what each name is
	entries int
	bytes   int64

	metadata []byte
}

func newPacker(w io.Writer, dir string) (*packer, error) {
	p := &packer{w: tar.NewWriter(w), dir: dir, seen: map[string]byte{}}
	return p, p.w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
}

// add adds an entry. content is read for files alone.
func (p *packer) add(h *tar.Header, content io.Reader) error {
	name, err := entryName(h.Name)
	if err != nil || name == "." {
		return err
	}
	if p.entries++; p.entries > maxEntries {
		return fmt.Errorf("it has more than %d files", maxEntries)
	}
	out := &tar.Header{Typeflag: h.Typeflag, Name: path.Join(p.dir, name), Mode: 0o755, ModTime: time.Unix(0, 0)}
	switch h.Typeflag {
	case tar.TypeDir:
		out.Name += "/"
	case tar.TypeReg:
		out.Size = h.Size
	case tar.TypeSymlink:
		out.Linkname = h.Linkname
		if path.IsAbs(h.Linkname) || !filepath.IsLocal(path.Join(path.Dir(name), h.Linkname)) {
			return fmt.Errorf("%s is a link out of its directory", filecopy.Quote(h.Name))
		}
	case tar.TypeLink:
		target, err := entryName(h.Linkname)
		if err != nil {
			return err
		}
		if p.seen[target] != tar.TypeReg {
			return fmt.Errorf("%s is a link to what is not a file", filecopy.Quote(h.Name))
		}
		out.Linkname = path.Join(p.dir, target)
	default:
		return fmt.Errorf("%s is neither a file nor a directory nor a link", filecopy.Quote(h.Name))
	}
	p.seen[name] = h.Typeflag
	if err := p.w.WriteHeader(out); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return p.file(name, h.Size, content)
}

func (p *packer) file(name string, bytesOf int64, content io.Reader) error {
	if p.bytes += bytesOf; p.bytes > maxBytes || bytesOf < 0 {
		return fmt.Errorf("its files have more than %s", size.Format(maxBytes))
	}
	var to io.Writer = p.w
	if name == metadataFile {
		if bytesOf > maxMetadata {
			return fmt.Errorf("%s is larger than %s", metadataFile, size.Format(maxMetadata))
		}
		var b bytes.Buffer
		defer func() { p.metadata = b.Bytes() }()
		to = io.MultiWriter(p.w, &b)
	}
	_, err := io.CopyN(to, content, bytesOf)
	return err
}

// close completes the stream, and refuses what is not a feature.
func (p *packer) close() error {
	for _, name := range []string{metadataFile, installFile} {
		if kind, found := p.seen[name]; !found || kind != tar.TypeReg && kind != tar.TypeLink {
			return fmt.Errorf("it has no file %s", name)
		}
	}
	if p.metadata == nil {
		return fmt.Errorf("its %s is a link", metadataFile)
	}
	return p.w.Close()
}

// entryName makes the name of an entry relative to the feature's directory.
func entryName(name string) (string, error) {
	clean := path.Clean(name)
	if path.IsAbs(name) || !filepath.IsLocal(clean) || strings.ContainsRune(clean, 0) || len(clean) > 4000 {
		return "", fmt.Errorf("it has a file that leads out of its directory: %s", filecopy.Quote(name))
	}
	return clean, nil
}

// repack copies the archive of a feature, which may be compressed, to w, and returns its metadata.
func repack(archive io.Reader, w io.Writer, dir string) ([]byte, error) {
	p, err := newPacker(w, dir)
	if err != nil {
		return nil, err
	}
	plain, err := decompress(archive)
	if err != nil {
		return nil, err
	}
	stream := tar.NewReader(plain)
	for {
		h, err := stream.Next()
		switch {
		case errors.Is(err, io.EOF):
			return p.metadata, p.close()
		case errors.As(err, new(*api.Error)): // too large
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("its archive is damaged: %w", err)
		case h.Typeflag == tar.TypeXGlobalHeader:
			continue
		}
		err = p.add(h, stream)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("its archive is damaged: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return nil, err
		}
	}
}

// decompress undoes gzip, if the archive has it, and ends one that does not end.
func decompress(archive io.Reader) (io.Reader, error) {
	b := bufio.NewReader(archive)
	var plain io.Reader = b
	if head, err := b.Peek(2); err == nil && head[0] == 0x1f && head[1] == 0x8b { // RFC 1952, section 2.3.1
		unzipped, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("its archive is damaged: %w", err)
		}
		plain = unzipped
	}
	return &bounded{plain, 2 * maxBytes}, nil // with headers and padding
}

// bounded fails after so many bytes.
type bounded struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, api.Errorf(api.KindInvalid, "its archive unpacks to more than %s", size.Format(2*maxBytes))
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
