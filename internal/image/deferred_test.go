package image

import (
	"archive/tar"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"banger/api"
	"banger/internal/image/ext4"
	"banger/internal/image/oci"
)

// withoutRoot runs the test that calls it in a user namespace like an ordinary user's,
// where this is root; the test is to return where that is false.
func withoutRoot(t *testing.T) bool {
	t.Helper()
	const inside = "BANGER_TEST_WITHOUT_ROOT"
	if os.Getuid() != 0 || os.Getenv(inside) != "" {
		return true
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1 << 16}}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a user namespace: %v\n%s", err, out)
	}
	return false
}

// TestWithoutRootAllIsExact: an ordinary user's images have devices, and owners beyond
// the ids that the user may use, whatever later layers do with such files.
func TestWithoutRootAllIsExact(t *testing.T) {
	if !withoutRoot(t) {
		return
	}
	setuid := ownedBy(fileEntry("bin/tool", "x"), 1<<20, 70000)
	setuid.Mode = 0o4755
	base := archive(t,
		dirEntry("dev/"), deviceEntry("dev/null", tar.TypeChar, 0o666, 1, 3), linkEntry("dev/other", "dev/null"),
		deviceEntry("dev/sda1", tar.TypeBlock, 0o660, 8, 1), deviceEntry("dev/large", tar.TypeChar, 0o600, 4095, 1<<20-1),
		ownedBy(deviceEntry("dev/theirs", tar.TypeChar, 0o600, 10, 200), 1<<32-2, 1<<20),
		tar.Header{Name: "dev/pipe", Typeflag: tar.TypeFifo, Mode: 0o640, Uid: 5},
		deviceEntry(`dev/<2> "a" #b`, tar.TypeChar, 0o600, 1, 5),
		ownedBy(fileEntry("no\xffutf", ""), 200000, 0), ownedBy(dirEntry("./"), 200000, 0),
		setuid, ownedBy(symlinkEntry("bin/link", "tool"), 1<<20, 1), ownedBy(dirEntry("home/"), 200000, 200000),
		linkEntry("bin/tool2", "bin/tool"),
		deviceEntry("gone", tar.TypeChar, 0o600, 1, 7), deviceEntry("file", tar.TypeChar, 0o600, 1, 7),
		deviceEntry("d/a", tar.TypeChar, 0o600, 1, 7), ownedBy(dirEntry("e/"), 200000, 0), ownedBy(fileEntry("mine", ""), 200000, 0))
	over := archive(t,
		fileEntry(".wh.gone", ""), fileEntry("file", "now"), fileEntry(".wh.d", ""), fileEntry(".wh.e", ""),
		fileEntry("mine", ""), fileEntry("dev/.wh.null", ""))
	again := archive(t, fileEntry("d/a/b", "a directory now"), fileEntry("e/f", "another directory"))
	c := open(t)
	var layers []oci.Layer
	for _, data := range [][]byte{base, over, again} {
		layers = append(layers, layerOf(t, data, gzipped))
	}
	var told strings.Builder
	made, err := c.maker.fromLayers(t.Context(), []string{"exact"}, imageOf(t, layers...), func(p api.Progress) { told.WriteString(p.Message + "\n") })
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(told.String(), "left out of") || strings.Contains(told.String(), "given to root") {
		t.Errorf("told:\n%s", told.String())
	}
	file := filepath.Join(c.records.Path(strings.TrimPrefix(made.Digest, "sha256:")), rootfsFile)
	fsck(t, file)
	for name, want := range map[string]string{
		"dev/null": "absent", "gone": "absent",
		"dev/other": "20666 0:6 1,3 x1", "dev/sda1": "60660 0:6 8,1 x1", "dev/large": "20600 0:6 4095,1048575 x1",
		"dev/theirs": "20600 4294967294:1048576 10,200 x1", "dev/pipe": "10640 5:0 0,0 x1", `dev/<2> "a" #b`: "20600 0:6 1,5 x1",
		"bin/tool": "104755 1048576:70000 x2", "bin/tool2": "104755 1048576:70000 x2", "bin/link": "120777 1048576:1 x1",
		"no\xffutf": "100644 200000:0 x1", "home": "40755 200000:200000 x2",
		"file": "100644 0:0 x1", "mine": "100644 0:0 x1", "d/a": "40755 0:0 x2", "e": "40755 0:0 x2",
	} {
		if got := described(t, file, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestDeviceNumbersThatLinuxDoesNotHave: mknod(2) would make other devices of them.
func TestDeviceNumbersThatLinuxDoesNotHave(t *testing.T) {
	c := open(t)
	below := layerOf(t, archive(t, fileEntry("dev/major", "in the way")), gzipped)
	layer := layerOf(t, archive(t,
		deviceEntry("dev/major", tar.TypeChar, 0o666, 4096+1, 3),
		deviceEntry("dev/minor", tar.TypeBlock, 0o600, 8, 1<<20+1), deviceEntry("dev/null", tar.TypeChar, 0o666, 1, 3)), gzipped)
	var told []string
	made, err := c.maker.fromLayers(t.Context(), []string{"numbers"}, imageOf(t, below, layer), func(p api.Progress) {
		if p.Step == api.StepNote {
			told = append(told, p.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], "device nodes left out of the image: 2,") {
		t.Errorf("told %q", told)
	}
	file := filepath.Join(c.records.Path(strings.TrimPrefix(made.Digest, "sha256:")), rootfsFile)
	for name, want := range map[string]string{"dev/major": "absent", "dev/minor": "absent", "dev/null": "20666 0:6 1,3 x1"} {
		if got := described(t, file, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// inode calls use with a file of an image; nil where it is not there.
func inode(t *testing.T, image, name string, use func(*ext4.Inode)) {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	fs, err := ext4.Open(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	i, err := fs.Inode(ext4.Root)
	for part := range strings.SplitSeq(name, "/") {
		if err != nil {
			t.Fatal(err)
		}
		entries, entriesErr := i.Entries(func(ext4.Entry) error { return nil })
		if entriesErr != nil {
			t.Fatal(entriesErr)
		}
		at := slices.IndexFunc(entries, func(e ext4.Entry) bool { return e.Name == part })
		if at < 0 {
			use(nil)
			return
		}
		i, err = fs.Inode(entries[at].Inode)
	}
	if err != nil {
		t.Fatal(err)
	}
	use(i)
}

// described says what a file of an image is.
func described(t *testing.T, image, name string) (text string) {
	t.Helper()
	inode(t, image, name, func(i *ext4.Inode) { text = describe(i) })
	return text
}

func describe(i *ext4.Inode) string {
	if i == nil {
		return "absent"
	}
	text := fmt.Sprintf("%o %d:%d", i.Mode, i.UID, i.GID)
	if i.Is(unix.S_IFCHR) || i.Is(unix.S_IFBLK) || i.Is(unix.S_IFIFO) {
		major, minor := i.Device()
		text += fmt.Sprintf(" %d,%d", major, minor)
	}
	return fmt.Sprintf("%s x%d", text, i.Links)
}
