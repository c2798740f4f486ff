package dist

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/internal/commands"
	"banger/internal/update/release"
)

// place is where an installer is tried: a release, a user with a prefix, and
// the programs that the machine has.
type place struct {
	*testing.T
	release, prefix, tools, home string
	uid                          string
}

// needs are the programs that install.sh starts, downloads aside. Each is in any
// Debian, and an applet of busybox.
var needs = strings.Fields("cat chmod cmp cp find gzip id ln mkdir mktemp mv readlink rm sed sha256sum sh sync tar uname")

// newPlace makes a release of version v1.2.3 and a machine with these programs
// beside the needed ones; box: all are busybox.
func newPlace(t *testing.T, box bool, more ...string) *place {
	t.Helper()
	p := &place{T: t, release: t.TempDir(), prefix: filepath.Join(t.TempDir(), "a user's place"), tools: t.TempDir(), home: t.TempDir(), uid: "1000"}
	for _, name := range append(needs, more...) {
		path := "/bin/busybox"
		if !box {
			var err error
			if path, err = exec.LookPath(name); err != nil {
				t.Skipf("NOT RUN: this machine has no %s", name)
			}
		}
		p.must(os.Symlink(path, filepath.Join(p.tools, name)))
	}
	p.must(os.Remove(filepath.Join(p.tools, "id")))
	p.must(os.WriteFile(filepath.Join(p.tools, "id"), []byte("#!/bin/sh\necho \"$TEST_UID\"\n"), 0o755))
	p.publish("v1.2.3")
	return p
}

// requireBusybox skips where busybox or an applet of it is missing.
func requireBusybox(t *testing.T) {
	t.Helper()
	list, err := exec.Command("/bin/busybox", "--list").Output()
	if err != nil {
		t.Skipf("NOT RUN: there is no busybox: %v", err)
	}
	for _, name := range append(needs, "wget") {
		if !strings.Contains("\n"+string(list), "\n"+name+"\n") {
			t.Skipf("NOT RUN: this busybox has no %s", name)
		}
	}
}

func (p *place) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// publish makes the files of a release, for this machine's platform.
func (p *place) publish(version string) {
	p.Helper()
	files := programs()
	for i := range files {
		files[i].Data = bytes.ReplaceAll(files[i].Data, []byte("v1.2.3"), []byte(version+" (commit 0123456789ab)"))
	}
	p.must(os.RemoveAll(p.release))
	p.must(os.Mkdir(p.release, 0o755))
	for _, arch := range Platforms {
		p.must(os.WriteFile(filepath.Join(p.release, release.Target(version, goos, arch)), mustArchive(p.T, files), 0o644))
	}
	p.must(writeSums(p.release))
}

func (p *place) archive() string {
	return filepath.Join(p.release, release.Target("v1.2.3", goos, runtime.GOARCH))
}

// install runs the script of this repository with the machine's programs only.
func (p *place) install(args ...string) (string, error) {
	p.Helper()
	script, err := os.ReadFile(repository + "/scripts/install.sh")
	p.must(err)
	return p.pipe(script, args...)
}

// pipe runs a script as `curl … | sh -s` does.
func (p *place) pipe(script []byte, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(p.tools, "sh"), append([]string{"-s", "--"}, args...)...)
	cmd.Env = []string{"PATH=" + p.tools, "HOME=" + p.home, "TEST_UID=" + p.uid, "TMPDIR=" + p.TempDir()}
	cmd.Stdin = bytes.NewReader(script)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// good installs and demands that it worked.
func (p *place) good(args ...string) string {
	p.Helper()
	out, err := p.install(append([]string{"--prefix", p.prefix}, args...)...)
	if err != nil {
		p.Fatalf("install: %v\n%s", err, out)
	}
	return out
}

// refused demands that nothing is installed, that nothing is left, and that it
// is said why.
func (p *place) refused(why string, args ...string) {
	p.Helper()
	before := p.tree()
	out, err := p.install(append([]string{"--prefix", p.prefix}, args...)...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, why) {
		p.Errorf("not refused because of %q: %v\n%s", why, err, out)
	}
	if diff := cmp.Diff(before, p.tree()); diff != "" {
		p.Errorf("something is left:\n%s", diff)
	}
}

// tree lists files and links below the prefix.
func (p *place) tree() string {
	p.Helper()
	list := ""
	err := filepath.WalkDir(p.prefix, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		target, _ := os.Readlink(path)
		name, _ := filepath.Rel(p.prefix, path)
		list += strings.TrimSpace(name+" "+target) + "\n"
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		p.Fatal(err)
	}
	return list
}

const installed = `bin/banger ../lib/banger/current/banger
bin/git-remote-banger ../lib/banger/current/banger
lib/banger/current versions/v1.2.3
lib/banger/versions/v1.2.3/banger
lib/banger/versions/v1.2.3/banger-agent
lib/banger/versions/v1.2.3/bangerd
lib/banger/versions/v1.2.3/bangerd-root
`

func (p *place) isInstalled() {
	p.Helper()
	if missing := commands.Unlinked(filepath.Join(p.prefix, "bin"), commands.Names); len(missing) > 0 {
		p.Errorf("not linked: %v", missing) // the doctor would say so
	}
	if diff := cmp.Diff(installed, p.tree()); diff != "" {
		p.Error(diff)
	}
	out, err := exec.Command(filepath.Join(p.prefix, "bin", "banger"), "version").Output()
	if err != nil || string(out) != "banger v1.2.3 (commit 0123456789ab)\n" {
		p.Errorf("%s %v", out, err)
	}
}

func TestInstallFromADirectory(t *testing.T) {
	p := newPlace(t, false)
	out := p.good("--from", p.release)
	p.isInstalled()
	if !strings.Contains(out, "is not on PATH") || strings.Contains(out, "daemon") {
		t.Error(out)
	}
	p.good("--from", p.release, "--version=v1.2.3") // again
	p.isInstalled()
	// One program was lost: it comes back.
	p.must(os.WriteFile(filepath.Join(p.prefix, "lib/banger/versions/v1.2.3/bangerd"), nil, 0o755))
	p.good("--from", p.release+"/")
	p.isInstalled()
	p.publish("v1.3.0")
	if out = p.good("--from", p.release); !strings.Contains(out, "a running daemon of v1.2.3 continues") {
		t.Error(out)
	}
	if target, err := os.Readlink(filepath.Join(p.prefix, "lib/banger/current")); err != nil || target != "versions/v1.3.0" {
		t.Error(target, err)
	}
}

func TestInstallByHTTP(t *testing.T) {
	for name, tool := range map[string]struct {
		program   string
		box       bool
		untrusted string
	}{
		"curl": {"curl", false, "cannot download"}, "wget": {"wget", false, "cannot download"},
		"busybox": {"wget", true, "this wget may not verify certificates"}, // nobody is asked
	} {
		t.Run(name, func(t *testing.T) {
			if tool.box {
				requireBusybox(t)
			}
			p := newPlace(t, tool.box, tool.program)
			server := httptest.NewServer(http.FileServer(http.Dir(p.release)))
			defer server.Close()
			cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, SumsName) {
					http.ServeFile(w, r, filepath.Join(p.release, SumsName))
					return
				}
				w.Header().Set("Content-Length", "1000")
				fmt.Fprint(w, "half")
			}))
			defer cut.Close()
			unknown := httptest.NewUnstartedServer(http.FileServer(http.Dir(p.release)))
			unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
			unknown.StartTLS() // nobody vouches for it
			defer unknown.Close()
			p.refused(tool.untrusted, "--from", unknown.URL)
			p.refused("cannot ", "--from", cut.URL)
			p.refused("cannot download", "--from", server.URL+"/nowhere")
			p.good("--from", server.URL)
			p.isInstalled()
			p.good("--from", server.URL)
			p.isInstalled()
		})
	}
}

func TestInstallRefuses(t *testing.T) {
	for _, before := range []bool{false, true} {
		p := newPlace(t, false)
		p.must(os.MkdirAll(p.prefix, 0o755))
		if before { // what is there stays as it is
			p.good("--from", p.release)
		}
		good, err := os.ReadFile(p.archive())
		p.must(err)
		sums, err := os.ReadFile(filepath.Join(p.release, SumsName))
		p.must(err)
		for _, data := range [][]byte{good[:len(good)/2], append([]byte{1}, good...), nil} {
			p.must(os.WriteFile(p.archive(), data, 0o644))
			p.refused("its SHA-256 is", "--from", p.release)
		}
		p.must(os.Remove(p.archive()))
		p.refused("cannot read", "--from", p.release)
		p.must(os.WriteFile(p.archive(), good, 0o644))

		p.refused("the release there is v1.2.3", "--from", p.release, "--version", "v1.2.4")
		line := string(sums[:bytes.IndexByte(sums, '\n')+1])
		for why, text := range map[string]string{
			"names no archive":              "",
			"names no archive for":          strings.ReplaceAll(string(sums), "v1.2.3", "../v1.2.3"),
			"names no archive for linux":    string(sums[:30]),
			"names more than one archive":   string(sums) + strings.ReplaceAll(string(sums), "v1.2.3", "v1.2.4"),
			"names more than one archive f": strings.Repeat(line+string(sums), 2),
		} {
			p.must(os.WriteFile(filepath.Join(p.release, SumsName), []byte(text), 0o644))
			p.refused(why, "--from", p.release)
		}
		p.must(os.Remove(filepath.Join(p.release, SumsName)))
		p.refused("cannot read", "--from", p.release)
		p.refused("nothing proves who answers", "--from", "http://banger.example/v1.2.3")
		for _, from := range []string{"http://localhost.example/", "http://127.0.0.1.example/", "http://[::1].example/"} {
			p.refused("nothing proves who answers", "--from", from)
		}
		for _, from := range []string{"http://localhost:80@banger.example/", "http://127.0.0.1@banger.example/", "http://[::1]@banger.example/", "https://user@banger.example/", `http://localhost\@banger.example/`} {
			p.refused("has no user name", "--from", from)
		}
		p.refused("its port is not a number", "--from", "http://localhost:80x.banger.example/")
		p.refused("neither a URL nor a directory", "--from", p.release+"/none")
		p.refused("--from is missing", "--version", "v1.2.3")
		p.refused("there is no option --form", "--form", p.release)
		p.refused("--from needs a value", "--from")
	}
}

// TestInstallRefusesAnArchiveThatIsNone: a checksum that is right does not make
// a program.
func TestInstallRefusesAnArchiveThatIsNone(t *testing.T) {
	for why, files := range map[string][]File{
		"cannot unpack":                programs()[:3],
		"bangerd is not a program":     append(programs()[:1], File{Name: "bangerd", Mode: 0o777, Link: "banger"}, programs()[2], programs()[3]),
		"does not run here":            append([]File{{Name: "banger", Mode: 0o755, Data: []byte("#!/nowhere\n")}}, programs()[1:]...),
		"in it reports version: other": append([]File{{Name: "banger", Mode: 0o755, Data: []byte("#!/bin/sh\necho other v1.2.33\n")}}, programs()[1:]...),
	} {
		p := newPlace(t, false)
		p.must(os.MkdirAll(p.prefix, 0o755))
		p.must(os.WriteFile(p.archive(), mustArchive(t, files), 0o644))
		p.must(os.Remove(filepath.Join(p.release, SumsName)))
		p.must(writeSums(p.release))
		p.refused(why, "--from", p.release)
	}
}

func TestInstallLeavesAnotherCommandAlone(t *testing.T) {
	p := newPlace(t, false)
	p.must(os.MkdirAll(filepath.Join(p.prefix, "bin"), 0o755))
	p.must(os.WriteFile(filepath.Join(p.prefix, "bin", "banger"), []byte("mine"), 0o755))
	p.refused("banger did not make the file", "--from", p.release)
}

// replace makes a program of the machine a shell script, which may call it as "$real".
func (p *place) replace(name, script string) {
	p.Helper()
	path := filepath.Join(p.tools, name)
	real, err := os.Readlink(path)
	p.must(err)
	p.must(os.Remove(path))
	p.must(os.WriteFile(path, []byte("#!/bin/sh\nreal="+real+"\n"+script+"\n"), 0o755))
}

// TestInstallEndsInTheMiddle of an installation of the same version anew: what was there
// is there.
func TestInstallEndsInTheMiddle(t *testing.T) {
	p := newPlace(t, false)
	p.good("--from", p.release)
	p.must(os.WriteFile(filepath.Join(p.prefix, "lib/banger/versions/v1.2.3/bangerd"), nil, 0o755))
	p.replace("mv", `"$real" "$@"; case $2 in */old) kill -TERM $PPID ;; esac`)
	p.refused("", "--from", p.release)
	p.isInstalled()
}

// TestInstallIsOnTheDisk before it is switched to, and afterwards.
func TestInstallIsOnTheDisk(t *testing.T) {
	p := newPlace(t, false)
	log := filepath.Join(t.TempDir(), "synced")
	current := filepath.Join(p.prefix, "lib/banger/current")
	p.replace("sync", `readlink "`+current+`" >>"`+log+`" || echo nothing >>"`+log+`"`)
	p.good("--from", p.release)
	if got, err := os.ReadFile(log); err != nil || string(got) != "nothing\nversions/v1.2.3\n" {
		t.Errorf("%s, %v", got, err)
	}
}

// TestInstallDuringAnUpdate: an update removes the versions that it does not know, and
// rolls back what current points at.
func TestInstallDuringAnUpdate(t *testing.T) {
	for _, more := range [][]string{nil, {"flock"}} {
		p := newPlace(t, false, more...)
		p.good("--from", p.release)
		updates, lib := filepath.Join(p.home, ".local/share/banger/update"), filepath.Join(p.prefix, "lib/banger")
		p.must(os.MkdirAll(updates, 0o700))
		p.must(os.WriteFile(filepath.Join(updates, "journal.json"), nil, 0o600))
		p.good("--from", p.release) // of other programs
		p.must(os.Symlink("versions/v1.2.3", filepath.Join(lib, "updating")))
		p.refused("an update has not ended", "--from", p.release)
		p.must(os.Remove(filepath.Join(updates, "journal.json")))
		p.must(os.Remove(filepath.Join(lib, "updating")))
		if more == nil {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(updates, "lock"), os.O_RDWR, 0)
		p.must(err)
		defer lock.Close()
		p.must(syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
		p.refused("is already running", "--from", p.release)
		p.must(syscall.Flock(int(lock.Fd()), syscall.LOCK_UN))
		p.good("--from", p.release)
		if text, err := io.ReadAll(lock); err != nil || !strings.HasSuffix(string(text), "\nan installation\n") {
			t.Errorf("the lock says %q, %v", text, err)
		}
	}
}

// TestHalfTheScriptDoesNothing: a download that stops runs into no command.
func TestHalfTheScriptDoesNothing(t *testing.T) {
	p := newPlace(t, false)
	script, err := os.ReadFile(repository + "/scripts/install.sh")
	p.must(err)
	for cut := len(script) - 12; cut > 0; cut -= 97 {
		out, _ := p.pipe(script[:cut], "--prefix", p.prefix, "--from", p.release)
		if tree := p.tree(); tree != "" || strings.Contains(out, "reading") {
			t.Fatalf("cut at %d it did something:\n%s%s", cut, out, tree)
		}
	}
}

// TestInstallAsRoot: the system is left to `banger system install`.
func TestInstallAsRoot(t *testing.T) {
	p := newPlace(t, false)
	p.uid = "0"
	out, err := p.install("--from", p.release)
	if err != nil {
		t.Fatal(err, out)
	}
	_, next, found := strings.Cut(out, "next: ")
	program, _, _ := strings.Cut(next, " system install --owner USER\n")
	if told, err := exec.Command(program, "version").Output(); !found || err != nil || !strings.HasPrefix(string(told), "banger v1.2.3 ") {
		t.Error(out, err)
	}
	entries, err := os.ReadDir(filepath.Dir(filepath.Dir(program)))
	if err != nil || len(entries) != 1 {
		t.Error("beside the programs there is more:", entries, err)
	}
}

// TestInstallAsRootWithAPrefix: --prefix says where: there.
func TestInstallAsRootWithAPrefix(t *testing.T) {
	p := newPlace(t, false)
	p.needRoot()
	p.good("--from", p.release)
	p.isInstalled()
}

// needRoot is for what root may do and others may not.
func (p *place) needRoot() {
	p.Helper()
	if os.Geteuid() != 0 {
		p.Skip("NOT RUN: the directories of a test of another user's are that user's")
	}
	p.uid = "0"
}

const somebody = 65534 // a user who is not root

// TestInstallAsRootFollowsNoLinkToALock: of a user's updates.
func TestInstallAsRootFollowsNoLinkToALock(t *testing.T) {
	p := newPlace(t, false, "flock")
	p.needRoot()
	p.good("--from", p.release) // the lock is taken where something is installed
	victim := filepath.Join(p.TempDir(), "victim")
	p.must(os.WriteFile(victim, []byte("root's"), 0o600))
	updates := filepath.Join(p.home, ".local/share/banger/update")
	p.must(os.MkdirAll(updates, 0o700))
	p.must(os.Symlink(victim, filepath.Join(updates, "lock")))
	for dir := updates; ; dir = filepath.Dir(dir) { // each of them may be somebody's
		p.must(os.Chown(dir, somebody, somebody))
		p.refused("belongs to another user", "--from", p.release)
		p.must(os.Chown(dir, 0, 0))
		if dir == p.home {
			break
		}
	}
	p.refused("it is a link", "--from", p.release)
	if text, err := os.ReadFile(victim); err != nil || string(text) != "root's" {
		t.Errorf("root's file has %q, %v", text, err)
	}
	p.must(os.RemoveAll(filepath.Join(p.home, ".local")))
	p.good("--from", p.release)
}

// TestInstallAsRootIntoAUsersPlace: the user could have it write anywhere.
func TestInstallAsRootIntoAUsersPlace(t *testing.T) {
	for _, box := range []bool{false, true} {
		if box {
			requireBusybox(t)
		}
		p := newPlace(t, box)
		p.needRoot()
		p.prefix = filepath.Join(p.home, "place")
		p.must(os.Chown(p.home, somebody, somebody))
		p.refused("belongs to another user", "--from", p.release)
		p.must(os.Chown(p.home, 0, 0))
		p.good("--from", p.release)
	}
}

// TestInstallerOfARelease knows where it came from and which version it is.
func TestInstallerOfARelease(t *testing.T) {
	p := newPlace(t, false)
	script, err := Installer(repository, "v1.2.3", p.release)
	p.must(err)
	if out, err := p.pipe(script, "--prefix", p.prefix); err != nil {
		t.Fatal(err, out)
	}
	p.isInstalled()
	p.publish("v1.3.0")
	if out, err := p.pipe(script, "--prefix", p.prefix); err == nil || !strings.Contains(out, "cannot install v1.2.3") {
		t.Error(err, out)
	}
}
