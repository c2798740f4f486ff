package script

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"banger/api"
	"banger/client"
	"banger/internal/daemon"
	"banger/internal/daemonstart"
	"banger/internal/faultpoint"
	"banger/internal/host/fsx"
	"banger/internal/host/fsx/synctest"
	"banger/internal/image/oci/registrytest"
	"banger/internal/paths"
	"banger/test/harness"
	"banger/test/harness/fakes"
)

// matrixDir begins the name of the directory that the home of a daemon of the matrix is in.
const matrixDir = "matrix-"

// diesAtPoints has a daemon of the matrix die where the file beside its program says.
func diesAtPoints() {
	if dir := filepath.Dir(os.Getenv("BANGER_HOME")); strings.HasPrefix(filepath.Base(dir), matrixDir) {
		os.Setenv(faultpoint.Env, filepath.Join(dir, "point"))
	}
}

// matrix is an installation whose daemon is killed, with a VM that nothing may happen to.
type matrix struct {
	t         *testing.T
	dir       string // of the daemon's program
	home      string
	paths     paths.Paths
	client    *client.Client
	parts     string // what is imported
	reference string // of an image in a registry
	free      int    // a port
	other     string // what other was at first
	restart   func() // ends the daemon, as kill -9 does
	daemons   int    // that are processes of their own
}

// parts are what installations of the matrix share.
type parts struct {
	template  string
	size      int64
	dir       string
	reference string
}

func newParts(t *testing.T) parts {
	t.Helper()
	p := parts{dir: t.TempDir()}
	var err error
	if p.template, p.size, err = fakes.Home(t.Context()); err != nil {
		t.Fatal(err)
	}
	makeParts(t, p.dir)
	agent, err := fakes.Agent(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BANGER_AGENT", agent)
	registry := registrytest.Start(registrytest.Options{})
	t.Cleanup(registry.Close)
	layer, err := registrytest.Files(map[string]string{"etc/greeting": "hello\n"})
	if err != nil {
		t.Fatal(err)
	}
	image, err := registrytest.Image("amd64", v1.Config{}, layer)
	if err == nil {
		err = registry.Push("app:1", image)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.reference = registry.Host + "/app:1"
	return p
}

// newMatrix makes an installation without a daemon.
func newMatrix(t *testing.T, of parts) *matrix {
	t.Helper()
	dir, err := os.MkdirTemp("", matrixDir)
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	m := &matrix{t: t, dir: dir, home: home, paths: fakes.PathsOf(home), parts: of.dir, reference: of.reference, free: freePort(t)}
	program, err := os.Executable()
	if err == nil {
		err = errors.Join(os.Symlink(program, filepath.Join(dir, "bangerd")), harness.CopyTree(of.template, home),
			os.WriteFile(filepath.Join(home, "config.toml"), fmt.Appendf(nil, settings, of.size>>20, fakes.Nowhere), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.end)
	return m
}

// asProcess has the daemon be a process, which clients start.
func (m *matrix) asProcess() *matrix {
	m.t.Helper()
	m.client = daemonstart.Daemon{Paths: m.paths, BeforeStart: func(context.Context) (string, error) {
		return filepath.Join(m.dir, "bangerd"), nil
	}}.Client(client.Options{})
	m.restart, m.daemons = m.killDaemon, 1
	m.begin()
	return m
}

// begin makes the VM that nothing may happen to.
func (m *matrix) begin() {
	m.t.Helper()
	m.must(m.client.VMs().Create(m.t.Context(), api.CreateVM{Name: another, Start: true}, nil))
	m.other = m.lookAtOther()
}

// end removes everything; the checks have been made.
func (m *matrix) end() {
	for _, p := range m.processes() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may just have ended
	}
	for len(m.processes()) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if err := os.RemoveAll(m.dir); err != nil {
		m.t.Error(err)
	}
}

// arm says where the daemon dies next; empty: nowhere.
func (m *matrix) arm(point string) {
	m.t.Helper()
	path := filepath.Join(m.dir, "point")
	if point == "" {
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
			m.ok(err)
		}
		return
	}
	m.ok(fsx.WriteFile(path, []byte(point), 0o600))
}

// fault has all starts of VMs fail from now on.
func (m *matrix) fault(name string) {
	m.ok(os.WriteFile(filepath.Join(m.home, "fault"), []byte(name), 0o600))
}

// process is one of the installation.
type process struct {
	pid int
	vm  string // that it is of; empty: the daemon
}

var vmArgument = regexp.MustCompile(`/data/vms/([0-9a-f]{12})\b`)

// processes finds all processes of the installation.
func (m *matrix) processes() (all []process) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		args, readErr := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || readErr != nil || !bytes.Contains(args, []byte(m.dir)) {
			continue
		}
		p := process{pid: pid}
		if of := vmArgument.FindSubmatch(args); of != nil {
			p.vm = string(of[1])
		}
		all = append(all, p)
	}
	return all
}

func (m *matrix) killDaemon() {
	m.t.Helper()
	s, err := daemonstart.Running(m.paths).Daemon().Status(m.t.Context())
	m.ok(err)
	m.ok(syscall.Kill(s.PID, syscall.SIGKILL))
}

// lookAtOther is what the other VM is, with its disk.
func (m *matrix) lookAtOther() string {
	m.t.Helper()
	v, err := m.client.VMs().Show(m.t.Context(), another)
	m.ok(err)
	record, err := json.Marshal(v)
	m.ok(err)
	health, err := m.client.Guest(another).Health(m.t.Context())
	m.ok(err)
	disk := synctest.Tree(m.t, m.paths.VM(v.ID), func(name string) bool { return !strings.Contains(name, "disk") && name != "." })
	return fmt.Sprintf("%s\n%s\n%s", record, health.BootID, disk)
}

// check proves that nothing is left over, and nobody else's changed.
func (m *matrix) check() {
	m.t.Helper()
	ctx := m.t.Context()
	if now := m.lookAtOther(); now != m.other {
		m.t.Errorf("another VM is\n%s\nit was\n%s", now, m.other)
	}
	operations, err := m.client.Operations().List(ctx)
	m.ok(err)
	for _, o := range operations {
		if o.Status == api.OpRunning {
			m.t.Errorf("an operation goes on: %+v", o)
		}
	}
	vms, err := m.client.VMs().List(ctx)
	m.ok(err)
	runs, published, there := map[string]bool{}, map[string]bool{}, []string{}
	for _, v := range vms {
		there = append(there, v.ID)
		runs[v.ID], published[v.ID] = v.PID > 0, v.PID > 0 && len(v.Publish) > 0
	}
	m.checkProcesses(runs, published)
	slices.Sort(there)
	if dirs := names(m.t, m.paths.VMs()); !slices.Equal(dirs, there) {
		m.t.Errorf("there are directories of VMs %v, and VMs %v", dirs, there)
	}
	if staged := names(m.t, m.paths.Staging()); len(staged) > 0 {
		m.t.Errorf("left in staging: %v", staged)
	}
	for _, dir := range []string{m.paths.Data, m.paths.Images(), m.paths.Kernels()} {
		for _, name := range names(m.t, dir) {
			if strings.HasPrefix(name, ".") {
				m.t.Errorf("left in %s: %s", dir, name)
			}
		}
	}
}

// checkProcesses wants the daemon, and of each VM that runs its VMM, and what serves its
// ports if it publishes some. What was killed may still be on its way out.
func (m *matrix) checkProcesses(runs, published map[string]bool) {
	m.t.Helper()
	var wrong string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		found := map[string]int{}
		for _, p := range m.processes() {
			found[p.vm]++
		}
		want := map[string]int{}
		if m.daemons > 0 {
			want[""] = m.daemons
		}
		for id := range runs {
			if runs[id] {
				want[id]++
			}
			if published[id] {
				want[id]++
			}
		}
		if wrong = ""; fmt.Sprint(found) != fmt.Sprint(want) {
			wrong = fmt.Sprintf("processes by VM: %v, want %v", found, want)
			continue
		}
		return
	}
	m.t.Error(wrong)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	all := []string{}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// smallTar writes a root file system of a few bytes.
func smallTar(path string) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	const text = "of the matrix\n"
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/greeting", Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// TestKilledAtEveryPoint: the daemon is killed at every step of every kind of request: before
// it, after it, while it is undone, and before and after the request itself. What the client
// is told is what is, for the next daemon and the one after that; nothing is left over,
// nobody else's VM has changed, and the same request again succeeds.
func TestKilledAtEveryPoint(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED: kill -9 at every point, with -short")
	}
	of := newParts(t)
	var mu sync.Mutex
	reached, observed := map[string]bool{}, 0
	t.Run("requests", func(t *testing.T) {
		for _, r := range requests {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				m := newMatrix(t, of).asProcess()
				points, after := m.observe(r)
				mu.Lock()
				observed++
				for _, p := range points {
					reached[p] = true
				}
				mu.Unlock()
				for _, point := range points {
					t.Run(point, func(t *testing.T) {
						m.t = t
						m.killedAt(r, point, after)
					})
				}
				m.t = t
			})
		}
	})
	if observed < len(requests) {
		t.Logf("NOT COMPARED with what the code names: only %d of %d requests were made", observed, len(requests))
		return
	}
	everythingIsInTheMatrix(t, reached)
}

// observe makes a request as it goes, and returns the points that are reached, and what there
// is afterwards.
func (m *matrix) observe(r request) (points []string, after string) {
	m.t.Helper()
	m.fault("")
	r.prepare(m)
	m.arm(faultpoint.Record)
	if err := r.do(m.t.Context(), m); (err != nil) != r.fails {
		m.t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(m.dir, "point"))
	m.ok(err)
	m.arm("")
	points = strings.Split(strings.TrimSpace(strings.TrimPrefix(string(data), faultpoint.Record)), "\n")
	if len(points) < 2 {
		m.t.Fatalf("only %q were reached", points)
	}
	slices.Sort(points)
	m.check()
	return slices.Compact(points), m.state()
}

// killedAt is one case.
func (m *matrix) killedAt(r request, point, after string) {
	m.fault("")
	r.prepare(m)
	before := m.state()
	m.arm(point)
	err := r.do(m.t.Context(), m)
	if _, left := os.Stat(filepath.Join(m.dir, "point")); left == nil {
		m.t.Fatalf("the daemon did not get there; it said %v", err)
	}
	m.afterwards(r, err, before, after)
}

// afterwards proves that what was told is what is, for this daemon and the next one, that
// nothing is left over and nobody else's has changed, and that the request can be made again.
func (m *matrix) afterwards(r request, err error, before, after string) {
	m.t.Helper()
	for _, daemon := range []string{"this daemon", "the next one"} {
		now := m.state()
		switch {
		case err == nil && now != after:
			m.t.Errorf("told that it is done, %s has\n%s\nwant\n%s", daemon, now, after)
		case err != nil && now != before:
			m.t.Errorf("told that it failed (%v), %s has\n%s\nbefore:\n%s", err, daemon, now, before)
		}
		m.check()
		m.restart()
	}
	m.fault("")
	if r.fails {
		return
	}
	if err != nil || r.again == "" {
		m.ok(r.do(m.t.Context(), m))
	} else if again := r.do(m.t.Context(), m); api.KindOf(again) != r.again {
		m.t.Errorf("again: %v", again)
	}
	if now := m.state(); !r.adds && now != after {
		m.t.Errorf("after the same request again there is\n%s\nwant\n%s", now, after)
	}
	m.check()
}

// elsewhere are the steps and requests that the matrix leaves out, with where they are proven.
var elsewhere = map[string]string{
	"attach":  "system mode: test/lab, which kills both daemons at each of its steps",
	"network": "system mode, as attach",
	"release": "system mode, as attach",

	"POST /v1/daemon/stop":       "it ends the daemon",
	"POST /v1/vms/{vm}/stream":   "a session: TestScripts, daemon_killed_exec",
	"POST /v1/vms/{vm}/keep":     "it changes nothing that is recorded but a flag: internal/vm, TestLease",
	"POST /v1/vms/{vm}/sync":     "it records nothing, and copies again what it has copied: internal/vm, TestSyncFiles",
	"DELETE /v1/operations/{id}": "it ends an operation as a failure of its step does",
	"vm.recover":                 "no operation: a VM is being looked for",
	"vm.rename":                  "POST /v1/vms/{vm}/rename",
	"vm.set":                     "POST /v1/vms/{vm}/set",
	"vm.publish":                 "POST /v1/vms/{vm}/publish",
	"image.tag":                  "POST /v1/images/tag",
	"image.delete":               "DELETE /v1/images/{image}",
	"kernel.delete":              "DELETE /v1/kernels/{kernel}",
}

// everythingIsInTheMatrix proves that each request that changes something, each kind of
// operation and each step that the code names was reached.
func everythingIsInTheMatrix(t *testing.T, points map[string]bool) {
	words := map[string]bool{}
	for p := range points {
		for _, word := range strings.Fields(p) {
			words[word] = true
		}
	}
	for _, r := range daemon.Routes() {
		route := r.Method + " " + r.Pattern
		if r.Method != "GET" && !points[route+" before"] && elsewhere[route] == "" {
			t.Errorf("%s is not in the matrix", route)
		}
	}
	kind := regexp.MustCompile(`^(vm|image|kernel)\.[a-z]+$`)
	named := 0
	for _, dir := range []string{"../../internal/vm", "../../internal/daemon"} {
		kinds, steps := namedIn(t, dir, kind)
		for _, word := range append(kinds, steps...) {
			if !words[word] && elsewhere[word] == "" {
				t.Errorf("%s names %q, which is not in the matrix", dir, word)
			}
			named++
		}
	}
	if named < 20 {
		t.Errorf("only %d kinds and steps were found in the code", named)
	}
}

// namedIn finds the texts that are kinds, and the names of steps, in the code of a package and of
// those below it.
func namedIn(t *testing.T, dir string, kind *regexp.Regexp) (kinds, steps []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob(filepath.Join(dir, "*", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(files, below...) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && kind.MatchString(text) {
					kinds = append(kinds, text)
				}
			case *ast.CompositeLit:
				if name, does := field(n, "Name"), field(n, "Do"); name != nil && does != nil {
					if text, ok := name.(*ast.BasicLit); ok {
						name, _ := strconv.Unquote(text.Value)
						steps = append(steps, name)
					}
				}
			}
			return true
		})
	}
	return kinds, steps
}

func field(c *ast.CompositeLit, name string) ast.Expr {
	for _, e := range c.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok && key.Name == name {
				return kv.Value
			}
		}
	}
	return nil
}
