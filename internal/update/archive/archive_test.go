package archive

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"banger/api"
	"banger/internal/update/release"
	"banger/internal/update/repotest"
)

func content(name string) []byte { return bytes.Repeat([]byte(name+"\n"), 300) }

func good() []repotest.Entry { return repotest.Programs(content) }

// with returns the good entries and more.
func with(more ...repotest.Entry) []byte { return repotest.Archive(append(good(), more...)...) }

// instead returns an archive whose first entry is another.
func instead(e repotest.Entry) []byte {
	all := good()
	if e.Name == "" {
		e.Name = all[0].Name
	}
	all[0] = e
	return repotest.Archive(all...)
}

func TestUnpack(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077)) // as a careful root has it
	data := repotest.Archive(good()...)
	for name, r := range map[string]io.Reader{
		"whole":   bytes.NewReader(data),
		"bytes":   iotest.OneByteReader(bytes.NewReader(data)),
		"records": bytes.NewReader(repotest.Gzip(append(repotest.Tar(good()...), make([]byte, 10<<10)...))),
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "v1.2.3")
			if err := Unpack(r, dir); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(dir); err != nil || info.Mode() != 0o755|os.ModeDir {
				t.Errorf("the directory: %v, %v", info.Mode(), err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != len(release.Programs) {
				t.Fatalf("%v, %v", entries, err)
			}
			for _, name := range release.Programs {
				got, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil || !bytes.Equal(got, content(name)) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
				if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o755 {
					t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
				}
			}
		})
	}
}

// header returns a tar file that begins with a header of any size and type.
func header(name string, size int64, flag byte) []byte {
	raw := repotest.Tar(repotest.Entry{Name: "x", Data: []byte("x")})
	copy(raw[:100], name)
	copy(raw[124:136], fmt.Sprintf("%011o\x00", size))
	raw[156] = flag
	sum := 0
	for i, b := range raw[:512] {
		if i >= 148 && i < 156 {
			b = ' '
		}
		sum += int(b)
	}
	copy(raw[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return raw
}

// hostile are archives that must be refused, with the words that say why.
func hostile() map[string]struct {
	data []byte
	want string
} {
	whole := repotest.Archive(good()...)
	plain := repotest.Tar(good()...)
	damaged := slices.Clone(whole)
	binary.LittleEndian.PutUint32(damaged[len(damaged)-8:], 1) // the CRC (RFC 1952, 2.3.1)
	four := 4 * (512 + 3072)
	if len(plain) < four {
		panic("the archive is not what these tests cut")
	}
	return map[string]struct {
		data []byte
		want string
	}{
		"parent":            {with(repotest.Entry{Name: "../evil", Data: []byte("x")}), `"../evil" escapes the directory`},
		"parent inside":     {with(repotest.Entry{Name: "a/../../evil", Data: []byte("x")}), `"a/../../evil" escapes the directory`},
		"absolute":          {with(repotest.Entry{Name: "/etc/evil", Data: []byte("x")}), `"/etc/evil" is an absolute name`},
		"directory's":       {instead(repotest.Entry{Name: "bin/banger", Data: []byte("x")}), `"bin/banger" is in a subdirectory`},
		"dot":               {instead(repotest.Entry{Name: "./banger", Data: []byte("x")}), `"./banger" is in a subdirectory`},
		"directory":         {with(repotest.Entry{Name: "bin/", Type: tar.TypeDir}), `"bin/" is a directory, not a file`},
		"symbolic link":     {instead(repotest.Entry{Type: tar.TypeSymlink, Link: "/etc/shadow"}), `"banger" is a symbolic link, not a file`},
		"hard link":         {instead(repotest.Entry{Type: tar.TypeLink, Link: "/etc/shadow"}), `"banger" is a hard link, not a file`},
		"character device":  {instead(repotest.Entry{Type: tar.TypeChar}), `"banger" is a device, not a file`},
		"block device":      {instead(repotest.Entry{Type: tar.TypeBlock}), `"banger" is a device, not a file`},
		"FIFO":              {instead(repotest.Entry{Type: tar.TypeFifo}), `"banger" is a FIFO, not a file`},
		"setuid":            {instead(repotest.Entry{Mode: 0o4755, Data: []byte("x")}), `"banger" has mode 4755, with a setuid, setgid or sticky bit`},
		"setgid":            {instead(repotest.Entry{Mode: 0o2755, Data: []byte("x")}), `"banger" has mode 2755, with`},
		"sticky":            {instead(repotest.Entry{Mode: 0o1755, Data: []byte("x")}), `"banger" has mode 1755, with`},
		"extra":             {with(repotest.Entry{Name: "README", Data: []byte("x")}), `"README" is not one of banger's programs`},
		"twice":             {with(good()[1]), `"bangerd" is there twice`},
		"missing":           {repotest.Archive(good()[:3]...), `banger-agent is missing`},
		"none":              {repotest.Archive(), `banger is missing`},
		"empty program":     {instead(repotest.Entry{}), `"banger" has 0 bytes`},
		"pax rename":        {instead(repotest.Entry{Data: []byte("x"), PAX: map[string]string{"comment": "x"}}), `"banger" has an extended header`},
		"pax long name":     {instead(repotest.Entry{Name: strings.Repeat("x", 300), Data: []byte("x")}), `has an extended header`},
		"GNU long name":     {repotest.Gzip(append(gnuName("banger"), repotest.Tar(repotest.Entry{Name: "../evil", Data: []byte("x")})...)), `"banger" has an extended header`},
		"pax global":        {with(repotest.Entry{Name: "", Type: tar.TypeXGlobalHeader, PAX: map[string]string{"path": "banger"}}), `is a global header, not a file`},
		"bomb":              {repotest.Gzip(header("banger", release.MaxProgram+1, '0')), `"banger" has 134217729 bytes: 1 to 134217728 are allowed`},
		"bomb after":        {repotest.Gzip(append(slices.Clone(plain), make([]byte, 1<<20)...)), `there are more than 65536 bytes after its last file`},
		"huge":              {repotest.Gzip(header("banger", 1<<32, '0')), `"banger" has 4294967296 bytes`},
		"no gzip":           {plain, `it is not compressed with gzip`},
		"nothing":           {nil, `it is not compressed with gzip`},
		"second member":     {append(slices.Clone(whole), whole...), `there is data after its compressed data`},
		"trailing byte":     {append(slices.Clone(whole), 0), `there is data after its compressed data`},
		"second tar":        {repotest.Gzip(append(slices.Clone(plain), plain...)), `there is data after its last file`},
		"cut off":           {whole[:len(whole)-20], `it is cut off`},
		"cut off checksum":  {whole[:len(whole)-1], `it is cut off`},
		"cut off tar":       {repotest.Gzip(plain[:four-100]), `it is cut off in banger-agent`},
		"wrong checksum":    {damaged, `it is damaged`},
		"damaged header":    {repotest.Gzip(append([]byte("x"), plain[1:]...)), `it is damaged`},
		"unknown type":      {repotest.Gzip(header("banger", 1, 'Z')), `"banger" is of unknown type 'Z', not a file`},
		"contiguous":        {repotest.Gzip(header("banger", 1, '7')), `"banger" is of unknown type '7', not a file`},
		"old directory":     {repotest.Gzip(header("banger/", 0, 0)), `"banger/" is a directory, not a file`},
		"GNU sparse header": {repotest.Gzip(header("banger", 1, 'S')), `cannot unpack the release: `},
	}
}

// gnuName is the entry that gives the next one another name (tar(5), GNU).
func gnuName(name string) []byte {
	raw := header("././@LongLink", int64(len(name)), 'L')[:1024]
	copy(raw[512:], name)
	return raw
}

func TestUnpackRefuses(t *testing.T) {
	for name, c := range hostile() {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			before := tree(t, outside)
			err := Unpack(bytes.NewReader(c.data), filepath.Join(outside, "v1.2.3"))
			if err == nil || !strings.Contains(err.Error(), c.want) || api.KindOf(err) != api.KindDenied {
				t.Errorf("%v (%s), want %q", err, api.KindOf(err), c.want)
			}
			if after := tree(t, outside); after != before {
				t.Errorf("it left\n%s", after)
			}
		})
	}
}

func TestUnpackKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "banger"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	if err := Unpack(bytes.NewReader(repotest.Archive(good()...)), dir); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Error(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(bytes.NewReader(repotest.Archive(good()...)), link); err == nil {
		t.Error("it unpacked through a link")
	}
	if after := tree(t, dir); after != before {
		t.Errorf("it made of\n%s\n%s", before, after)
	}
}

func TestUnpackSaysThatReadingFailed(t *testing.T) {
	dir := t.TempDir()
	data := repotest.Archive(good()...)
	r := io.MultiReader(bytes.NewReader(data[:200]), iotest.ErrReader(os.ErrPermission))
	if err := Unpack(r, filepath.Join(dir, "new")); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Error(err)
	}
	if tree(t, dir) != "" {
		t.Error("something is left")
	}
}

// tree describes everything below dir.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "%s %v %d\n", strings.TrimPrefix(path, dir), info.Mode(), info.Size())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// FuzzUnpack: whatever comes, either exactly the programs are there, or nothing.
func FuzzUnpack(f *testing.F) {
	for _, c := range hostile() {
		if len(c.data) < 64<<10 {
			f.Add(c.data, false)
		}
	}
	f.Add(repotest.Tar(good()...), true)
	f.Fuzz(func(t *testing.T, data []byte, compress bool) {
		if compress { // so that the tar reader is reached
			data = repotest.Gzip(data)
		}
		outside := t.TempDir()
		err := Unpack(bytes.NewReader(data), filepath.Join(outside, "new"))
		names, _ := filepath.Glob(filepath.Join(outside, "new", "*"))
		switch {
		case err != nil && tree(t, outside) != "":
			t.Errorf("%v left\n%s", err, tree(t, outside))
		case err == nil && len(names) != len(release.Programs):
			t.Errorf("it unpacked\n%s", tree(t, outside))
		}
		for _, name := range names {
			if info, err := os.Lstat(name); err != nil || info.Mode() != 0o755 || !slices.Contains(release.Programs, filepath.Base(name)) {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
	})
}
