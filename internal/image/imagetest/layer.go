package imagetest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"

	"banger/internal/image/oci"
)

// Compress returns what a compressor that open opens makes of data.
func Compress(t testing.TB, data []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Gzip compresses with gzip.
func Gzip(t testing.TB, data []byte) []byte {
	return Compress(t, data, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
}

// Zstd compresses with Zstandard.
func Zstd(t testing.TB, data []byte) []byte {
	return Compress(t, data, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
}

// Layer returns a layer as a registry has it: what travels is packed(archive).
func Layer(t testing.TB, archive []byte, packed func(testing.TB, []byte) []byte) oci.Layer {
	blob := archive
	if packed != nil {
		blob = packed(t, archive)
	}
	return oci.Layer{
		Digest: oci.Digest(blob), DiffID: oci.Digest(archive), Size: int64(len(blob)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil },
	}
}

// Image returns the image of these layers, and a configuration that names them.
func Image(t testing.TB, layers ...oci.Layer) oci.Image {
	t.Helper()
	var ids []string
	for _, l := range layers {
		ids = append(ids, l.DiffID)
	}
	raw, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH,
		"config": map[string]any{"Env": []string{"A=1"}, "Cmd": []string{"/bin/sh"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	if err != nil {
		t.Fatal(err)
	}
	i, err := oci.ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	i.Layers, i.Ref = layers, "example/test:1"
	return i
}
