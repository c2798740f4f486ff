package disk_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/disk"
)

// probed is a driver that only answers Probe.
type probed struct {
	disk.Driver
	name string
	err  error
}

func (p probed) Name() string                                { return p.name }
func (p probed) Probe(context.Context, string, string) error { return p.err }

func TestChoose(t *testing.T) {
	good := func(name string) disk.Driver { return probed{name: name} }
	bad := func(name string, err error) disk.Driver { return probed{name: name, err: err} }
	no := errors.New("the file system has no such thing")
	full := disk.Error("probe", "/x", syscall.ENOSPC)
	for name, c := range map[string]struct {
		drivers []disk.Driver
		want    string
		kind    api.Kind
	}{
		"the first":                  {[]disk.Driver{good("a"), good("b")}, "a", ""},
		"the first that works":       {[]disk.Driver{bad("a", no), good("b")}, "b", ""},
		"none works":                 {[]disk.Driver{bad("a", no), bad("b", no)}, "", api.KindUnsupported},
		"none is there":              {nil, "", api.KindUnsupported},
		"a full disk is full to all": {[]disk.Driver{bad("a", full), good("b")}, "", api.KindNoSpace},
	} {
		d, err := disk.Choose(t.Context(), c.drivers, "/d", "/b")
		if c.want != "" && (err != nil || d.Name() != c.want) || c.want == "" && (err == nil || api.KindOf(err) != c.kind) {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	_, err := disk.Choose(t.Context(), []disk.Driver{bad("a", no), bad("b", errors.New("other"))}, "/d", "/b")
	for _, part := range []string{"a: " + no.Error(), "b: other", "/d"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %q", err, part)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := disk.Choose(ended, []disk.Driver{bad("a", context.Canceled)}, "/d", "/b"); api.KindOf(err) != api.KindCanceled {
		t.Errorf("an ended context gives %v", err)
	}
}

func TestErrorKinds(t *testing.T) {
	for err, want := range map[error]api.Kind{
		syscall.ENOSPC: api.KindNoSpace, syscall.EDQUOT: api.KindNoSpace, syscall.EEXIST: api.KindExists,
		context.Canceled: api.KindCanceled, context.DeadlineExceeded: api.KindCanceled, syscall.EIO: api.KindInternal,
	} {
		if got := api.KindOf(disk.Error("create", "/x", err)); got != want {
			t.Errorf("%v gives kind %s, want %s", err, got, want)
		}
	}
}
