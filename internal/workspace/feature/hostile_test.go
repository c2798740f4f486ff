package feature

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"banger/api"
	"banger/internal/image/oci/registrytest"
)

// TestHostile are features that must not be installed: each is refused with its name.
func TestHostile(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	good := []entry{file("devcontainer-feature.json", `{"id": "a"}`), file("install.sh", "x")}
	with := func(more ...entry) []byte { return archive(t, append(slices.Clone(good), more...)...) }
	special := func(kind byte, name, target string) entry {
		e := link(name, target)
		e.Typeflag = kind
		return e
	}
	many := make([]entry, maxEntries)
	for i := range many {
		many[i] = file(fmt.Sprintf("f%d", i), "")
	}
	whole := with(file("big", strings.Repeat("x", 100_000)))
	for want, data := range map[string][]byte{
		"leads out of its directory: ../x":         with(file("../x", "")),
		"leads out of its directory: a/../../x":    with(file("a/../../x", "")),
		"leads out of its directory: /etc/x":       with(file("/etc/x", "")),
		"l is a link out of its directory":         with(link("l", "/etc/passwd")),
		"d/l is a link out of its directory":       with(link("d/l", "../../x")),
		"leads out of its directory: ../../etc/x":  with(special('1', "h", "../../etc/x")),
		"h is a link to what is not a file":        with(special('1', "h", "nothing")),
		"dev is neither a file":                    with(special('3', "dev", "")),
		"pipe is neither a file":                   with(special('6', "pipe", "")),
		"it has no file install.sh":                archive(t, good[0]),
		"it has no file devcontainer-feature.json": archive(t, good[1]),
		"it has no file install.sh ":               archive(t, good[0], link("install.sh", "x")),
		"its archive is damaged":                   []byte("this is not an archive, and is long enough to be a header of one" + strings.Repeat("x", 512)),
		"its archive is damaged: unexpected EOF":   whole[:len(whole)-60_000],
		"its archive is damaged: gzip":             []byte("\x1f\x8b is not gzip"),
		"it has more than 10000 files":             with(many...),
		"its archive unpacks to more than 256 MiB": bomb(t),
		"its files have more than 128 MiB":         zipped(t, with(file("zeros", strings.Repeat("\x00", int(maxBytes))))),
		"devcontainer-feature.json is larger than": described(t, `{"id": "a"`+strings.Repeat(" ", int(maxMetadata))+`}`),
		"devcontainer-feature.json: line 1":        described(t, `{"id": 3}`),
		`"" is not a valid id`:                     described(t, `{}`),
		`"../x" is not a valid id`:                 described(t, `{"id": "../x"}`),
		"dependsOn":                                described(t, `{"id": "a", "dependsOn": {"https://x.example/f.tgz": {}}}`),
		"cannot depend on a file of the workspace": described(t, `{"id": "a", "dependsOn": {"./mine": {}}}`),
		"its default is neither a text":            described(t, `{"id": "a", "options": {"o": {"default": [1]}}}`),
		"(HOST/n/f/bad depends on it)":             described(t, fx.named(`{"id": "a", "dependsOn": {"HOST/n/f/gone": {}}}`)),
	} {
		fx.push("n/f/bad:latest", data)
		_, err := fx.resolve(fx.wanted(`{"HOST/n/f/bad": {}}`))
		want := strings.TrimSpace(fx.named(want))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), fx.Host+"/n/f/") || api.AsError(err).Hint == "" {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestEndless is a chain of features that does not end.
func TestEndless(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	for i := range maxFeatures + 5 {
		fx.push(fmt.Sprintf("n/f/f%d:latest", i), described(t, fx.named(fmt.Sprintf(`{"id": "f%d", "dependsOn": {"HOST/n/f/f%d": {}}}`, i, i+1))))
	}
	_, err := fx.resolve(fx.wanted(`{"HOST/n/f/f0": {}}`))
	if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "more than 64 features") {
		t.Error(err)
	}
	if n := fx.Asked("/manifests/"); n > maxFeatures+1 {
		t.Errorf("%d manifests", n)
	}
}

// TestRegistryMisbehaves: wrong content, and what is no feature, is refused; a broken connection is
// tried again, as for images.
func TestRegistryMisbehaves(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.push("n/f/a:1", described(t, `{"id": "a"}`))
	w := fx.wanted(`{"HOST/n/f/a:1": {}}`)
	fx.Set(registrytest.Blobs(registrytest.Answer(200, strings.Repeat("x", 3584))))
	if _, err := fx.resolve(w); api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), "wrong digest") {
		t.Errorf("other content: %v", err)
	}
	fx.Set(registrytest.Answer(404, ""))
	if _, err := fx.resolve(w); api.KindOf(err) != api.KindNotFound || strings.Contains(api.AsError(err).Hint, "image pull") {
		t.Errorf("none: %v", err)
	}
	fx.Set(registrytest.Blobs(registrytest.Cut(1000, 1)))
	if _, err := fx.resolve(w); err != nil {
		t.Errorf("a broken connection: %v", err)
	}
	fx.Set(nil)
	image, err := registrytest.Image("", imageConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := fx.Push("n/f/image:latest", image); err != nil {
		t.Fatal(err)
	}
	if _, err := fx.resolve(fx.wanted(`{"HOST/n/f/image": {}}`)); api.KindOf(err) != api.KindUnsupported || !strings.Contains(err.Error(), "is not a dev container feature") {
		t.Errorf("an image: %v", err)
	}
	digest := fx.push("n/f/a:2", described(t, `{"id": "a", "version": "2"}`))
	if set, err := fx.resolve(fx.wanted(`{"HOST/n/f/a@` + digest + `": {}}`)); err != nil || set.Features[0].Version != "2" {
		t.Errorf("by digest: %v", err)
	}
	other := "sha256:" + strings.Repeat("0", 64)
	if _, err := fx.resolve(fx.wanted(`{"HOST/n/f/a@` + other + `": {}}`)); api.KindOf(err) != api.KindNotFound {
		t.Errorf("another digest: %v", err)
	}
}

// TestLocal: a local feature is a directory of the workspace, and nothing beyond.
func TestLocal(t *testing.T) {
	fx := newFixture(t, registrytest.Options{})
	fx.write("../secret/devcontainer-feature.json", `{"id": "x"}`)
	refused := func(id, want string, prepare func(dir string) error) {
		t.Helper()
		dir := filepath.Join(fx.top, folder, id)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		fx.local(id, `{"id": "x"}`)
		if err := prepare(dir); err != nil {
			t.Fatal(err)
		}
		_, err := fx.resolve(fx.wanted(`{"./` + id + `": {}}`))
		if api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", id, err, want)
		}
	}
	refused("gone", "there is no directory .devcontainer/gone", os.RemoveAll)
	refused("linked", "", func(dir string) error {
		os.RemoveAll(dir)
		return os.Symlink(filepath.Join(fx.top, "../secret"), dir)
	})
	refused("pipe", "pipe is neither a file", func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644) })
	refused("script", "no file install.sh", func(dir string) error {
		os.Remove(filepath.Join(dir, installFile))
		return os.Symlink(metadataFile, filepath.Join(dir, installFile))
	})
}

// TestFullDisk is nobody's fault but the disk's.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	_, err = repack(bytes.NewReader(described(t, `{"id": "a"}`)), full, "a")
	if err := unusable(ID{text: "./a"}, err, ""); api.KindOf(err) != api.KindNoSpace {
		t.Error(err)
	}
}
