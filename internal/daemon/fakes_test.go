package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
	"banger/internal/daemon/caches"
	"banger/internal/host/fileid"
	"banger/internal/host/fsx"
	"banger/internal/image/export"
	"banger/internal/op"
	"banger/internal/paths"
)

// nullLog records operations nowhere.
type nullLog struct{}

func (nullLog) BeginOperation(context.Context, api.Operation) error            { return nil }
func (nullLog) EnterStep(context.Context, string, string, bool) error          { return nil }
func (nullLog) PutBack(context.Context, string) error                          { return nil }
func (nullLog) EndOperation(context.Context, api.Event) error                  { return nil }
func (nullLog) RequestedOperation(context.Context, string) (*api.Event, error) { return nil, nil }
func (nullLog) EndedOperations(context.Context, string) ([]string, error)      { return nil, nil }
func (nullLog) EndedOperation(context.Context, string) (*api.Event, error) {
	return nil, nil
}

// fakeWork begins operations of one step, and records which.
type fakeWork struct {
	ops   *op.Manager
	asked chan string // what was asked, for tests that look
	step  func(ctx context.Context, report api.Report) error
}

func (f *fakeWork) start(ctx context.Context, kind, ref, what string) (*op.Op, error) {
	if err := findFox(ref); err != nil {
		return nil, err
	}
	select {
	case f.asked <- what:
	default:
	}
	do := f.step
	if do == nil {
		do = func(_ context.Context, report api.Report) error {
			report(api.Progress{Step: "only", Message: "working"})
			return nil
		}
	}
	return f.ops.Start(ctx, op.Plan{
		Kind: kind, Target: ref, Steps: []op.Step{{Name: "only", Do: do}},
		Result: func(*op.Op) *api.Result { return &api.Result{VM: &fox} },
	})
}

var fox = api.VM{ID: "0123456789ab", Name: "fox", State: api.StateRunning}

// findFox finds the only VM there is.
func findFox(ref string) error {
	if ref == "boom" {
		panic("boom")
	}
	if ref != fox.Name && ref != fox.ID {
		return api.Errorf(api.KindNotFound, "no VM %q", ref).WithHint("banger vm list")
	}
	return nil
}

// fakeVMs has one running VM, "fox".
type fakeVMs struct {
	console string
	done    chan struct{} // closed when fox stops
	image   *api.ImageConfig
}

func (f *fakeVMs) List(context.Context) ([]api.VM, error)             { return []api.VM{fox}, nil }
func (f *fakeVMs) Show(_ context.Context, ref string) (api.VM, error) { return fox, findFox(ref) }
func (f *fakeVMs) Find(ref string) (api.VM, error) {
	vm := fox
	vm.ImageConfig = f.image
	return vm, findFox(ref)
}
func (f *fakeVMs) Wait(ctx context.Context, ref string) (api.VM, error) {
	if err := findFox(ref); err != nil {
		return api.VM{}, err
	}
	select {
	case <-f.done:
		return fox, nil
	case <-ctx.Done():
		return api.VM{}, context.Cause(ctx)
	}
}
func (f *fakeVMs) ConsolePath(_ context.Context, ref string) (string, <-chan struct{}, error) {
	return f.console, f.done, findFox(ref)
}
func (f *fakeVMs) Leaks(context.Context) (api.Leaks, error) {
	return api.Leaks{Leaks: []api.Leak{{Kind: "loop", Name: "loop7", Why: "nobody knows it"}}, Compared: []string{"loop"}}, nil
}

// fakeLifecycle begins operations on fox.
type fakeLifecycle struct{ *fakeWork }

func (f fakeLifecycle) Create(ctx context.Context, req api.CreateVM) (*op.Op, error) {
	return f.start(ctx, "vm.create", "fox", "create "+req.Name)
}
func (f fakeLifecycle) Start(ctx context.Context, ref string, req api.StartVM) (*op.Op, error) {
	return f.start(ctx, "vm.start", ref, forced("start", req))
}
func (f fakeLifecycle) Restart(ctx context.Context, ref string, req api.StartVM) (*op.Op, error) {
	return f.start(ctx, "vm.restart", ref, forced("restart", req))
}
func forced(what string, req api.StartVM) string {
	if req.Force {
		return what + " --force"
	}
	return what
}
func (f fakeLifecycle) Stop(ctx context.Context, ref string, _ api.StopVM) (*op.Op, error) {
	return f.start(ctx, "vm.stop", ref, "stop")
}
func (f fakeLifecycle) Kill(ctx context.Context, ref string) (*op.Op, error) {
	return f.start(ctx, "vm.kill", ref, "kill")
}
func (f fakeLifecycle) Signal(ctx context.Context, ref string, sig api.Signal) (*op.Op, error) {
	return f.start(ctx, "vm.kill", ref, "signal "+string(sig))
}
func (f fakeLifecycle) Pause(ctx context.Context, ref string) (*op.Op, error) {
	return f.start(ctx, "vm.pause", ref, "pause")
}
func (f fakeLifecycle) Resume(ctx context.Context, ref string) (*op.Op, error) {
	return f.start(ctx, "vm.resume", ref, "resume")
}
func (f fakeLifecycle) Suspend(ctx context.Context, ref string) (*op.Op, error) {
	return f.start(ctx, "vm.suspend", ref, "suspend")
}

// fakeSnapshots has one snapshot, of fox.
type fakeSnapshots struct{ fakeLifecycle }

var den = api.Snapshot{ID: "0123456789ab", Name: "den", VM: "fox"}

func (f fakeSnapshots) Snapshot(ctx context.Context, ref string, req api.SnapshotVM) (*op.Op, error) {
	return f.start(ctx, "vm.snapshot", ref, "snapshot "+req.Name)
}
func (f fakeSnapshots) List() ([]api.Snapshot, error) { return []api.Snapshot{den}, nil }
func (f fakeSnapshots) Show(ref string) (api.Snapshot, error) {
	if ref == den.Name {
		return den, nil
	}
	return api.Snapshot{}, api.Errorf(api.KindNotFound, "no snapshot named %q", ref)
}
func (f fakeSnapshots) Delete(ref string) error {
	_, err := f.Show(ref)
	return err
}

func (f fakeLifecycle) Delete(ctx context.Context, ref string, force bool) (*op.Op, error) {
	what := "delete"
	if force {
		what = "delete --force"
	}
	return f.start(ctx, "vm.delete", ref, what)
}
func (f fakeLifecycle) Prune(ctx context.Context) (*op.Op, error) {
	return f.start(ctx, "vm.prune", "fox", "prune")
}
func (f fakeLifecycle) Commit(ctx context.Context, ref string, req api.CommitVM) (*op.Op, error) {
	return f.start(ctx, "vm.commit", ref, "commit "+req.Name)
}

// fakeChanges changes fox for one answer.
type fakeChanges struct{}

func (fakeChanges) Set(_ context.Context, ref string, req api.SetVM) (api.VM, error) {
	vm, err := fox, findFox(ref)
	if req.MemoryBytes != nil {
		vm.MemoryBytes = *req.MemoryBytes
	}
	return vm, err
}

func (fakeChanges) Rename(_ context.Context, ref, name string) (api.VM, error) {
	vm := fox
	vm.Name = name
	return vm, findFox(ref)
}
func (fakeChanges) Publish(_ context.Context, ref string, req api.PublishVM) (api.VM, error) {
	vm := fox
	vm.Publish = req.Add
	return vm, findFox(ref)
}

// fakeGuests has the guest of fox.
type fakeGuests struct{ dial func() (net.Conn, error) }

func (f *fakeGuests) DialGuest(_ context.Context, ref string) (net.Conn, error) {
	if err := findFox(ref); err != nil {
		return nil, err
	}
	return f.dial()
}

func (*fakeGuests) SyncFiles(_ context.Context, ref string) (api.SyncedFiles, error) {
	return api.SyncedFiles{VM: ref, Files: []api.SyncedFile{}}, nil
}

func (f *fakeGuests) Sessions(_ context.Context, ref string) ([]api.Session, error) {
	return []api.Session{{ID: "0a1b2c3d", Kind: "shell", State: api.SessionAttached}}, findFox(ref)
}

func (f *fakeGuests) SSHAccess(_ context.Context, ref string) (api.SSHAccess, error) {
	return api.SSHAccess{Name: ref, HostKey: []byte("seed")}, findFox(ref)
}

// fakeObserver looks at fox.
type fakeObserver struct{}

func (fakeObserver) Stats(_ context.Context, refs []string) (api.StatsList, error) {
	list := api.StatsList{Stats: []api.VMStats{}}
	for _, ref := range refs {
		list.Stats = append(list.Stats, api.VMStats{Name: ref, Error: api.AsError(findFox(ref))})
	}
	return list, nil
}

func (fakeObserver) Health(_ context.Context, ref string) (api.VMHealth, error) {
	return api.VMHealth{ID: fox.ID, Name: fox.Name, Well: true}, findFox(ref)
}

// do does what a cache was asked for.
func (f *fakeWork) do(what string, report api.Report) error {
	select {
	case f.asked <- what:
	default:
	}
	report(api.Progress{Step: "only", Message: "working"})
	return nil
}

// fakeImages have every image but "none", and record what they were asked.
type fakeImages struct{ *fakeWork }

func (f fakeImages) List() ([]api.Image, error) { return nil, nil }
func (f fakeImages) Get(ref string) (api.Image, error) {
	return api.Image{Names: []string{ref}}, nil
}
func (f fakeImages) Tag(ref, name string) (api.Image, error) {
	return api.Image{Names: []string{ref, name}}, nil
}
func (f fakeImages) History(string) ([]api.ImageHistory, error) { return nil, nil }
func (f fakeImages) Export(_ context.Context, ref, format string) (export.Image, error) {
	if ref == "none" {
		return nil, api.Errorf(api.KindNotFound, "no image named %q", ref)
	}
	return &fakeExport{text: ref + " as " + format, breaks: ref == "broken", closed: f.asked}, nil
}

// fakeExport is an image of a few words. It may break off in the middle.
type fakeExport struct {
	text   string
	breaks bool
	closed chan string
}

func (e *fakeExport) Size() int64  { return int64(len(e.text)) }
func (e *fakeExport) LeftOut() int { return 3 }
func (e *fakeExport) Close() error { e.closed <- "closed"; return nil }
func (e *fakeExport) Write(_ context.Context, w io.Writer) error {
	if e.breaks {
		_, err := io.WriteString(w, e.text[:4])
		return errors.Join(err, http.NewResponseController(w.(http.ResponseWriter)).Flush(), errors.New("the disk died"))
	}
	_, err := io.WriteString(w, e.text)
	return err
}

func (f fakeImages) Delete(ref string, _ func(string) []string) error {
	if ref == "used" {
		return api.Errorf(api.KindConflict, "cannot delete image used: fox uses it")
	}
	return nil
}
func (f fakeImages) Pull(_ context.Context, req api.PullImage, report api.Report) (api.Image, error) {
	return api.Image{Names: []string{req.Name}}, f.do("pull "+req.Name, report)
}
func (f fakeImages) CheckRegister(req api.RegisterImage) error {
	if req.Initrd != "" {
		return api.Errorf(api.KindUnsupported, "no initrd")
	}
	return nil
}
func (f fakeImages) Register(ctx context.Context, req api.RegisterImage, kernel caches.KernelOf, _ func(string) []string, report api.Report) (api.Image, error) {
	image := api.Image{Names: []string{req.Name}}
	if kernel != nil {
		var err error
		if image.Kernel, _, err = kernel(ctx, report); err != nil {
			return image, err
		}
	}
	return image, f.do("register "+req.Name, report)
}
func (f fakeImages) Promote(_ context.Context, req api.PromoteImage, _ func(string) []string, report api.Report) (api.Image, error) {
	return api.Image{}, f.do("promote "+req.Image, report)
}
func (f fakeImages) Import(_ context.Context, req api.ImportImage, report api.Report) (api.Image, error) {
	return api.Image{Names: []string{req.Name}}, f.do("import "+req.Path, report)
}
func (f fakeImages) Prune(_ bool, _ func(string) []string, _ func(string) ([]int64, bool)) (api.Pruned, error) {
	return api.Pruned{}, f.do("prune", func(api.Progress) {})
}

type fakeKernels struct{ *fakeWork }

func (f fakeKernels) List() ([]api.Kernel, error)                { return nil, nil }
func (f fakeKernels) Get(ref string) (api.Kernel, error)         { return api.Kernel{Release: ref}, nil }
func (f fakeKernels) Delete(string, func(string) []string) error { return nil }
func (f fakeKernels) Pull(_ context.Context, _ api.PullKernel, report api.Report) (api.Kernel, error) {
	return api.Kernel{}, f.do("pull kernel", report)
}
func (f fakeKernels) Import(_ context.Context, _ api.ImportKernel, report api.Report) (api.Kernel, error) {
	return api.Kernel{}, f.do("import kernel", report)
}

func (f fakeKernels) Available(context.Context, bool) (api.AvailableKernels, error) {
	return api.AvailableKernels{}, nil
}

func (f fakeKernels) Register(_ context.Context, _ api.ImportKernel, report api.Report) (api.Kernel, []fileid.File, error) {
	return api.Kernel{Digest: "kernel"}, nil, f.do("register kernel", report)
}

// noUsers is a Usage of nothing.
type noUsers struct{}

func (noUsers) InUse(string) []string             { return nil }
func (noUsers) DisksInUse(string) ([]int64, bool) { return nil, true }

// fakes are the services of a daemon.
type fakes struct {
	work   fakeWork
	vms    fakeVMs
	guests fakeGuests
	detach func() // called when the daemon lets go of the guests
}

func newFakes(log *slog.Logger) *fakes {
	return &fakes{
		work: fakeWork{ops: op.NewManager(nullLog{}, log), asked: make(chan string, 10)},
		vms:  fakeVMs{done: make(chan struct{})},
	}
}

// rig is a running daemon over fakes.
type rig struct {
	t     *testing.T
	env   Env
	fake  *fakes
	stop  context.CancelFunc
	ended chan error
	http  *http.Client
}

func testEnv(t *testing.T) Env {
	dir := t.TempDir()
	return Env{Paths: paths.Paths{Data: filepath.Join(dir, "data")}, Log: slog.New(slog.DiscardHandler)}
}

// newRig starts a daemon and stops it when the test ends.
func newRig(t *testing.T) *rig {
	return newRigOf(t, func(p Program) Program { return p })
}

// newRigOf is newRig with a changed program.
func newRigOf(t *testing.T, change func(Program) Program) *rig {
	t.Helper()
	return newRigIn(t, func(e Env) Env { return e }, change)
}

// newRigIn is newRigOf in a changed environment.
func newRigIn(t *testing.T, in func(Env) Env, change func(Program) Program) *rig {
	t.Helper()
	r := &rig{t: t, env: in(testEnv(t)), ended: make(chan error, 1)}
	r.fake = newFakes(r.env.Log)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	ready := make(chan error, 1)
	go func() { r.ended <- Run(ctx, change(r.fake.program()), r.env, func(err error) { ready <- err }) }()
	select {
	case <-ready:
	case err := <-r.ended:
		t.Fatal(err)
	}
	r.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return fsx.DialUnix(ctx, r.env.Paths.Socket())
		},
	}}
	t.Cleanup(func() {
		r.http.CloseIdleConnections()
		cancel()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(r.env.Paths.Socket()); err == nil {
			t.Error("the socket is still there")
		}
	})
	return r
}

// program is a daemon's program over the fakes.
func (f *fakes) program() Program {
	return Program{Version: "test", Build: func(context.Context, Env) (*Services, error) {
		return &Services{
			VMs: &f.vms, Lifecycle: fakeLifecycle{&f.work}, Signals: fakeLifecycle{&f.work}, Pauses: fakeLifecycle{&f.work}, Snapshots: fakeSnapshots{fakeLifecycle{&f.work}}, Changes: fakeChanges{}, Guests: &f.guests, Observer: fakeObserver{},
			Caches: caches.Caches{
				Images: fakeImages{&f.work}, Exports: fakeImages{&f.work}, InPlace: fakeImages{&f.work}, Kernels: fakeKernels{&f.work},
				Ops: f.work.ops, Use: noUsers{},
			},
			Operations: f.work.ops,
			Doctor:     func(context.Context) []api.Check { return []api.Check{{Name: "qemu", Status: "ok"}} },
			Config:     func(string, string) (api.Config, error) { return api.Config{File: "config.toml"}, nil },
			Recover:    func(context.Context) error { return nil },
			Detach: func() {
				if f.detach != nil {
					f.detach()
				}
			},
			Close: func() error { f.work.ops.Close(); return nil },
		}, nil
	}}
}

// do sends a request and returns status and body.
func (r *rig) do(method, path, body string, headers ...string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(data))
}

// fails checks that a request fails with a status and a kind, as an api.Error.
func (r *rig) fails(status int, kind api.Kind, method, path, body string, headers ...string) api.Error {
	r.t.Helper()
	got, text := r.do(method, path, body, headers...)
	var e api.Error
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		r.t.Fatalf("%s %s: no api.Error: %q", method, path, text)
	}
	if got != status || e.Kind != kind || e.Message == "" {
		r.t.Errorf("%s %s: %d %+v, want %d %s", method, path, got, e, status, kind)
	}
	return e
}

// events reads the events of a body.
func events(t *testing.T, body io.Reader) []api.Event {
	t.Helper()
	var all []api.Event
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		var e api.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		all = append(all, e)
	}
	return all
}
