package dist

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

const repository = "../../.."

// TestBuildsAreReproducible builds two programs of the release in two directories,
// of which one is a copy made just now. (make release-check does so with
// everything, and without the Go tool's cache.)
func TestBuildsAreReproducible(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "an other place")
	for _, dir := range []string{"api", "cmd", "internal"} {
		if err := os.CopyFS(filepath.Join(elsewhere, dir), os.DirFS(filepath.Join(repository, dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(repository, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(elsewhere, name), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"banger-agent", "bangerd-root"}
	built := map[string][]byte{}
	for _, source := range []string{repository, elsewhere} {
		c := Compilation{Source: source, Out: t.TempDir(), Arch: "amd64", Programs: names, Flags: Options{Source: Source{Version: "v1.2.3", Commit: "0123456789ab"}}.linkerFlags()}
		if err := c.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(filepath.Join(c.Out, name))
			if err != nil {
				t.Fatal(err)
			}
			if before, found := built[name]; found && !bytes.Equal(before, data) {
				t.Errorf("%s has other bytes when it is built elsewhere", name)
			}
			if here, err := filepath.Abs(source); err != nil || bytes.Contains(data, []byte(here)) {
				t.Errorf("%s names the directory in which it was built", name)
			}
			built[name] = data
		}
	}
}

// TestOptionsThatNobodyCouldUse: a release is refused before it is built.
func TestOptionsThatNobodyCouldUse(t *testing.T) {
	good := Options{Source: Source{Version: "v1.2.3"}, Root: aRoot(t), Repository: "https://banger.example/update"}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"version":       func(o *Options) { o.Source.Version = "1.2.3" },
		"root alone":    func(o *Options) { o.Repository = "" },
		"URL alone":     func(o *Options) { o.Root = nil },
		"http":          func(o *Options) { o.Repository = "http://banger.example/update" },
		"a space":       func(o *Options) { o.Repository = "https://banger.example/a -X b" },
		"a quote":       func(o *Options) { o.Download = "https://banger.example/'" },
		"no root":       func(o *Options) { o.Root = []byte("{}") },
		"an other root": func(o *Options) { o.Root = bytes.Replace(o.Root, []byte(`"version": 1`), []byte(`"version": 2`), 1) },
	} {
		o := good
		change(&o)
		if err := o.check(); err == nil {
			t.Errorf("%s: it would be built", name)
		}
	}
}

func TestLinkerFlags(t *testing.T) {
	o := Options{Source: Source{Version: "v1.2.3", Commit: "0123456789ab"}}
	if flags := o.linkerFlags(); strings.Contains(flags, "update") {
		t.Errorf("without a root: %s", flags)
	}
	o.Root, o.Repository = []byte("{}"), "https://banger.example/update"
	want := "-s -w -buildid= -X banger/internal/buildinfo.version=v1.2.3 -X banger/internal/buildinfo.commit=0123456789ab" +
		" -X banger/internal/buildinfo.updateRoot=e30= -X banger/internal/buildinfo.updateRepository=https://banger.example/update"
	if flags := o.linkerFlags(); flags != want {
		t.Errorf("with a root: %s", flags)
	}
}

// aRoot is a root with one key for everything.
func aRoot(t *testing.T) []byte {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	root := metadata.Root(time.Now().Add(time.Hour).UTC().Truncate(time.Second))
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err := root.Signed.AddKey(key, role); err != nil {
			t.Fatal(err)
		}
	}
	signer, err := signature.LoadED25519Signer(private)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Sign(signer); err != nil {
		t.Fatal(err)
	}
	data, err := root.ToBytes(true)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
