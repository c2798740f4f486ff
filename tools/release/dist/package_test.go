package dist

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
)

func aPackage(t *testing.T) Package {
	t.Helper()
	source := t.TempDir()
	for name, text := range map[string]string{"LICENSE": "free", "README.md": "# banger", "docs/man/banger.1": ".TH banger 1"} {
		path := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := tree(source, programs())
	if err != nil {
		t.Fatal(err)
	}
	return Package{Version: "v1.2.3-rc.1", Arch: "amd64", Time: at, Files: files}
}

func TestPackageVersion(t *testing.T) {
	for v, want := range map[string]string{"v1.2.3": "1.2.3", "v1.2.3-rc.1": "1.2.3~rc.1", "v1.2.3-a-b": "1.2.3~a.b"} {
		if got := packageVersion(v); got != want {
			t.Errorf("%s: %s, not %s", v, got, want)
		}
	}
}

func TestDeb(t *testing.T) {
	p := aPackage(t)
	deb, err := p.Deb()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.Deb(); err != nil || !bytes.Equal(deb, again) {
		t.Error("the same files give other bytes", err)
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("NOT RUN: there is no dpkg-deb to read the package with")
	}
	path := filepath.Join(t.TempDir(), p.DebName())
	if err := os.WriteFile(path, deb, 0o644); err != nil {
		t.Fatal(err)
	}
	fields := run(t, "dpkg-deb", "--showformat=${Package} ${Version} ${Architecture} ${Installed-Size}\n", "--show", path)
	if fields != "banger 1.2.3~rc.1-1 amd64 7\n" {
		t.Error(fields)
	}
	// Mode, owner, size, day, hour, name: as GNU tar lists them.
	listed := regexp.MustCompile(` +`).ReplaceAllString(run(t, "dpkg-deb", "--contents", path), " ")
	want := `drwxr-xr-x 0/0 0 2026-01-02 03:04 ./
drwxr-xr-x 0/0 0 2026-01-02 03:04 ./usr/
drwxr-xr-x 0/0 0 2026-01-02 03:04 ./usr/bin/
lrwxrwxrwx 0/0 0 2026-01-02 03:04 ./usr/bin/banger -> ../lib/banger/banger
lrwxrwxrwx 0/0 0 2026-01-02 03:04 ./usr/bin/git-remote-banger -> ../lib/banger/banger
drwxr-xr-x 0/0 0 2026-01-02 03:04 ./usr/lib/
drwxr-xr-x 0/0 0 2026-01-02 03:04 ./usr/lib/banger/
-rwxr-xr-x 0/0 31 2026-01-02 03:04 ./usr/lib/banger/banger
-rwxr-xr-x 0/0 37 2026-01-02 03:04 ./usr/lib/banger/banger-agent
-rwxr-xr-x 0/0 32 2026-01-02 03:04 ./usr/lib/banger/bangerd
-rwxr-xr-x 0/0 37 2026-01-02 03:04 ./usr/lib/banger/bangerd-root
drwxr-xr-x 0/0 0 2026-01-02 03:04 ./usr/share/
drwxr-xr-x 0/0 0 2026-01-02 03:04 ./usr/share/doc/
drwxr-xr-x 0/0 0 2026-01-02 03:04 ./usr/share/doc/banger/
-rw-r--r-- 0/0 8 2026-01-02 03:04 ./usr/share/doc/banger/README.md
-rw-r--r-- 0/0 4 2026-01-02 03:04 ./usr/share/doc/banger/copyright
drwxr-xr-x 0/0 0 2026-01-02 03:04 ./usr/share/man/
drwxr-xr-x 0/0 0 2026-01-02 03:04 ./usr/share/man/man1/
-rw-r--r-- 0/0 36 2026-01-02 03:04 ./usr/share/man/man1/banger.1.gz
`
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Error(diff)
	}
	unpackDeb(t, path)
}

// unpackDeb unpacks the package and holds its files to its own md5sums.
func unpackDeb(t *testing.T, path string) {
	t.Helper()
	dir := t.TempDir()
	run(t, "dpkg-deb", "--raw-extract", path, dir)
	out := run(t, "sh", "-c", `cd "$1" && md5sum -c DEBIAN/md5sums && usr/bin/banger`, "sh", dir)
	if strings.Count(out, ": OK") != 7 || !strings.HasSuffix(out, "banger v1.2.3\n") {
		t.Error(out)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestRPM(t *testing.T) {
	p := aPackage(t)
	rpm, err := p.RPM()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.RPM(); err != nil || !bytes.Equal(rpm, again) {
		t.Error("the same files give other bytes", err)
	}
	if p.RPMName() != "banger-1.2.3~rc.1-1.x86_64.rpm" {
		t.Error(p.RPMName())
	}
	header, payload := splitRPM(t, rpm)
	for tag, want := range map[uint32]string{1000: "banger", 1001: "1.2.3~rc.1", 1002: "1", 1014: "Apache-2.0", 1022: "x86_64", 1125: "gzip"} {
		if header[tag] != want {
			t.Errorf("tag %d is %q, not %q", tag, header[tag], want)
		}
	}
	z, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	files := cpio.NewReader(z)
	got := ""
	for {
		h, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		line := strings.TrimSpace(h.Mode.String() + " " + h.Name + " " + h.Linkname)
		got += line + "\n"
	}
	want := `0120777 /usr/bin/banger ../lib/banger/banger
0120777 /usr/bin/git-remote-banger ../lib/banger/banger
040755 /usr/lib/banger
0100755 /usr/lib/banger/banger
0100755 /usr/lib/banger/banger-agent
0100755 /usr/lib/banger/bangerd
0100755 /usr/lib/banger/bangerd-root
040755 /usr/share/doc/banger
0100644 /usr/share/doc/banger/README.md
0100644 /usr/share/doc/banger/copyright
0100644 /usr/share/man/man1/banger.1.gz
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
