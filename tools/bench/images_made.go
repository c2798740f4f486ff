package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"banger/internal/image/oci/registrytest"
	"banger/test/harness"
)

// The content of the unpacked image: files like those of source code and libraries.
const (
	unpackFiles = 30_000
	fileAverage = 10 << 10
	filesPerDir = 50
)

// made is an image of one layer.
type made struct {
	layout string // an OCI layout
	layer  string // its layer, a compressed archive
	files  int
	bytes  int64 // in files
	packed int64 // compressed size of the layer
}

// makeLayout makes an image of many small files in dir. It is the same in each run.
func makeLayout(dir string) (made, error) {
	m := made{layout: filepath.Join(dir, "layout"), layer: filepath.Join(dir, "layer.tar.gz")}
	if err := m.writeLayer(); err != nil {
		return m, err
	}
	info, err := os.Stat(m.layer)
	if err != nil {
		return m, err
	}
	m.packed = info.Size()
	layer, err := tarball.LayerFromFile(m.layer)
	if err != nil {
		return m, err
	}
	image, err := registrytest.Image("", v1.Config{Cmd: []string{"/bin/sh"}}, layer)
	if err != nil {
		return m, err
	}
	path, err := layout.Write(m.layout, empty.Index)
	if err != nil {
		return m, err
	}
	return m, path.AppendImage(image)
}

func (m *made) writeLayer() error {
	f, err := os.Create(m.layer)
	if err != nil {
		return err
	}
	defer f.Close()
	packed := gzip.NewWriter(f)
	archive := tar.NewWriter(packed)
	random := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 2*fileAverage)
	for n := range unpackFiles {
		if n%filesPerDir == 0 {
			if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("srv/d%d/", n/filesPerDir), Mode: 0o755}); err != nil {
				return err
			}
			m.files++
		}
		data := content[:1+random.IntN(len(content))]
		for i := range data { // compressible to about half
			data[i] = "etaoin shrdlu\ncm"[random.IntN(16)]
		}
		name := fmt.Sprintf("srv/d%d/f%d", n/filesPerDir, n)
		err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))})
		if err == nil {
			_, err = archive.Write(data)
		}
		if err != nil {
			return err
		}
		m.files++
		m.bytes += int64(len(data))
	}
	return errors.Join(archive.Close(), packed.Close(), f.Close())
}

// makeRootfs makes a bootable root file system, with that many bytes that neither
// compression nor holes reduce.
func makeRootfs(path string, size int64) error {
	busybox := path + ".busybox"
	if err := harness.BusyboxTar(busybox); err != nil {
		return err
	}
	from, err := os.Open(busybox)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buffer := bufio.NewWriterSize(f, 1<<20)
	archive := tar.NewWriter(buffer)
	if err := copyTar(archive, tar.NewReader(from)); err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{})
	for n := 0; size > 0; n++ {
		part := min(size, 64<<20)
		size -= part
		err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("srv/%d", n), Mode: 0o644, Size: part})
		if err == nil {
			_, err = io.CopyN(archive, random, part)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), buffer.Flush(), f.Close())
}

func copyTar(to *tar.Writer, from *tar.Reader) error {
	for {
		h, err := from.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = to.WriteHeader(h)
		}
		if err == nil {
			_, err = io.Copy(to, from)
		}
		if err != nil {
			return err
		}
	}
}
