// Package maketest tests the scripts that `make` runs before there is a Go toolchain.
package maketest

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// checkout is a copy of what need-go.sh reads, and a PATH without a go command.
type checkout struct {
	t         *testing.T
	dir, bin  string
	dest, url string

	mu         sync.Mutex // held while the script does not run, or the server answers it
	downloaded int
	content    []byte
}

const module = "golang.org/toolchain@v0.0.1-go9.9.9.linux-amd64/"

// toolchain is a module's zip whose go command says which version it is.
func toolchain(t *testing.T) []byte {
	t.Helper()
	var data bytes.Buffer
	w := zip.NewWriter(&data)
	for name, text := range map[string]string{
		"bin/go": "#!/bin/sh\necho go9.9.9\n", "bin/gofmt": "", "pkg/tool/linux_amd64/compile": "", "src/_go.mod": "module std\n",
	} {
		f, err := w.Create(module + name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

func newCheckout(t *testing.T) *checkout {
	t.Helper()
	for _, program := range []string{"unzip", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT RUN: %v", err)
		}
	}
	c := &checkout{t: t, dir: t.TempDir(), content: toolchain(t)}
	c.mu.Lock()
	c.bin, c.dest = filepath.Join(c.dir, "path"), filepath.Join(c.dir, ".cache", "go-9.9.9")
	for _, dir := range []string{"scripts", "path"} {
		if err := os.Mkdir(filepath.Join(c.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile("../../scripts/need-go.sh")
	if err != nil {
		t.Fatal(err)
	}
	c.write("scripts/need-go.sh", string(script))
	c.write("scripts/go-toolchain", fmt.Sprintf("# comment\n9.9.9 amd64 %x\n", sha256.Sum256(c.content)))
	c.write("go.mod", "module x\n\ngo 9.9.0\n")
	for _, program := range []string{"bash", "sh", "awk", "sort", "head", "uname", "id", "dirname", "mkdir", "mktemp", "curl", "sha256sum", "unzip", "mv", "chmod", "find", "rm"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(c.bin, program)); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.downloaded++
		if r.URL.Path != "/golang.org/toolchain/@v/v0.0.1-go9.9.9.linux-amd64.zip" {
			http.NotFound(w, r)
			return
		}
		w.Write(c.content)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *checkout) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o755); err != nil {
		c.t.Fatal(err)
	}
}

// run runs the script as CI does, which is not asked.
func (c *checkout) run(args ...string) (out string, ok bool) {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(c.dir, "scripts", "need-go.sh"), args...)
	cmd.Env = []string{"PATH=" + c.bin, "HOME=" + c.dir, "CI=true", "GOPROXY=" + c.url + ",direct", "no_proxy=127.0.0.1"}
	c.mu.Unlock()
	defer c.mu.Lock()
	data, err := cmd.CombinedOutput()
	return string(data), err == nil
}

// left are the files beside the destination.
func (c *checkout) left() string {
	entries, _ := os.ReadDir(filepath.Dir(c.dest))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestFetchedToolchain(t *testing.T) {
	c := newCheckout(t)
	if out, ok := c.run("check"); ok {
		t.Errorf("a go command was found: %s", out)
	}
	if out, ok := c.run(c.dest); !ok || c.left() != "go-9.9.9" {
		t.Fatalf("%s%s", out, c.left())
	}
	if _, err := os.Stat(filepath.Join(c.dest, "src", "go.mod")); err != nil {
		t.Error(err)
	}
	// The Makefile puts it first.
	c.bin = filepath.Join(c.dest, "bin") + ":" + c.bin
	if out, ok := c.run("check"); !ok {
		t.Errorf("the go command that was fetched is not suitable: %s", out)
	}
	if out, ok := c.run(c.dest); !ok || out != "" || c.downloaded != 1 {
		t.Errorf("fetched %d times: %s", c.downloaded, out)
	}
}

// TestRefusedToolchain: whatever is wrong with a download leaves nothing, and is said.
func TestRefusedToolchain(t *testing.T) {
	for name, test := range map[string]struct {
		change func(c *checkout)
		want   string
	}{
		"altered":      {func(c *checkout) { c.content = append(c.content, 0) }, "has another SHA-256"},
		"truncated":    {func(c *checkout) { c.content = c.content[:100] }, "has another SHA-256"},
		"not there":    {func(c *checkout) { c.url += "/elsewhere" }, "cannot be downloaded"},
		"nobody there": {func(c *checkout) { c.url = "http://127.0.0.1:1" }, "cannot be downloaded"},
		"no program":   {func(c *checkout) { os.Remove(filepath.Join(c.bin, "curl")) }, "neither curl nor wget"},
		"not a zip": {func(c *checkout) {
			c.content = []byte("zip")
			c.write("scripts/go-toolchain", fmt.Sprintf("9.9.9 amd64 %x\n", sha256.Sum256(c.content)))
		}, "cannot be unpacked"},
		"other machine": {func(c *checkout) { c.write("scripts/go-toolchain", "9.9.9 riscv64 0\n") }, "no toolchain for amd64"},
		"older Go": {func(c *checkout) {
			c.write("path/go", "#!/bin/sh\necho go9.8.7\n")
			c.url = "http://127.0.0.1:1"
		}, "cannot be downloaded"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckout(t)
			test.change(c)
			out, ok := c.run(c.dest)
			if ok || !strings.Contains(out, test.want) || !strings.Contains(out, "or install it as") || c.left() != "" {
				t.Errorf("%v, left %q: %s", ok, c.left(), out)
			}
		})
	}
}

// TestSuitableToolchain: nothing is fetched if there is one.
func TestSuitableToolchain(t *testing.T) {
	c := newCheckout(t)
	for version, suitable := range map[string]bool{"go9.9.0": true, "go9.10.1 X:arenas": true, "go9.8.20": false} {
		c.write("path/go", "#!/bin/sh\necho "+version+"\n")
		if out, ok := c.run("check"); ok != suitable {
			t.Errorf("%s: %v: %s", version, ok, out)
		}
	}
	if c.downloaded != 0 {
		t.Errorf("downloaded %d times", c.downloaded)
	}
}

// TestPinnedToolchain: what would be fetched can build what go.mod says.
func TestPinnedToolchain(t *testing.T) {
	pinned, err1 := os.ReadFile("../../scripts/go-toolchain")
	mod, err2 := os.ReadFile("../../go.mod")
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	var version string
	for line := range strings.Lines(string(pinned)) {
		if f := strings.Fields(line); !strings.HasPrefix(line, "#") && (len(f) != 3 || len(f[2]) != 64) {
			t.Errorf("not a valid line: %q", line)
		} else if !strings.HasPrefix(line, "#") {
			version = f[0]
		}
	}
	c := newCheckout(t)
	c.write("go.mod", string(mod))
	c.write("path/go", "#!/bin/sh\necho go"+version+"\n")
	if out, ok := c.run("check"); !ok {
		t.Errorf("Go %s of scripts/go-toolchain cannot build banger: %s", version, out)
	}
}
