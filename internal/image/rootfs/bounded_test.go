package rootfs

import (
	"archive/tar"
	"context"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/image/imagetest"
	"banger/internal/image/oci"
	"banger/internal/image/tarball"
)

// TestNobodyReadsOn: the rest of a layer is read only where that tells something, and
// while anybody waits for it.
func TestNobodyReadsOn(t *testing.T) {
	gone, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	gone.Close()
	ended, end := context.WithCancel(t.Context())
	end()
	for name, c := range map[string]struct {
		ctx    context.Context
		digest string
	}{"no digest": {t.Context(), ""}, "given up": {ended, "sha256:" + strings.Repeat("0", 64)}} {
		r := tarball.NewCounter(bigFirst(t), func(int64) {})
		layer := oci.Layer{Digest: c.digest, Size: 1 << 40, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }}
		if err := feedOne(c.ctx, w, layer); err == nil || r.Bytes() > 4<<20 {
			t.Errorf("%s: read %d bytes, %v", name, r.Bytes(), err)
		}
	}
}

// TestSizesDoNotWrap: what is too much stays so where the sum has no room.
func TestSizesDoNotWrap(t *testing.T) {
	u := unpacker{tree: paperTree{}, limits: tarball.DefaultLimits, s: &Summary{Bytes: 1}}
	err := u.entry(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: math.MaxInt64}, imagetest.Zeros{})
	if api.KindOf(err) != api.KindInvalid || !strings.HasSuffix(err.Error(), tarball.DefaultLimits.TooLarge().Error()) || !strings.Contains(err.Error(), `"f"`) {
		t.Error(err)
	}
}
