package repotest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"time"

	"banger/internal/update/release"
)

// Entry is one entry of an archive, good or hostile.
type Entry struct {
	Name string
	Type byte  // tar.TypeReg if 0
	Mode int64 // 0755 if 0
	Link string
	Data []byte
	PAX  map[string]string
}

// Programs returns the entries of a good archive; content returns each one's bytes.
func Programs(content func(name string) []byte) []Entry {
	var all []Entry
	for _, name := range release.Programs {
		all = append(all, Entry{Name: name, Data: content(name)})
	}
	return all
}

// Archive makes a gzip-compressed tar of the entries.
func Archive(entries ...Entry) []byte { return Gzip(Tar(entries...)) }

// Tar makes a tar file of the entries.
func Tar(entries ...Entry) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{Name: e.Name, Typeflag: e.Type, Mode: e.Mode, Linkname: e.Link, PAXRecords: e.PAX, ModTime: time.Unix(1767322800, 0)}
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.Data))
		}
		switch {
		case h.Typeflag == tar.TypeXGlobalHeader: // which has no other fields
			h = &tar.Header{Typeflag: e.Type, PAXRecords: e.PAX}
		case h.Mode == 0:
			h.Mode = 0o755
		}
		must(w.WriteHeader(h))
		if h.Size > 0 {
			must(write(w, e.Data))
		}
	}
	must(w.Close())
	return out.Bytes()
}

// Gzip compresses data into one gzip member.
func Gzip(data []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	must(write(w, data))
	must(w.Close())
	return out.Bytes()
}

func write(w io.Writer, data []byte) error {
	_, err := w.Write(data)
	return err
}

// must panics: a test describes an impossible archive.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
