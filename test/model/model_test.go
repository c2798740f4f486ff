package model

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"banger/api"
	"banger/internal/daemonstart"
	"banger/internal/faultpoint"
	"banger/test/harness"
	"banger/test/harness/fakes"
	"banger/test/harness/guests"
	"banger/test/harness/session"
)

func TestMain(m *testing.M) {
	fakes.Become()
	programs := fakes.Programs()
	if programs[filepath.Base(os.Args[0])] == nil {
		if status, ran := ownMounts(); ran {
			os.Exit(status)
		}
	}
	testscript.Main(m, programs)
}

// settings is config.toml. A boot and a stop take no longer, however busy the machine.
const settings = `driver = "fake"
image = "tiny"
vcpus = 1
memory = "%s"
disk = "DISK"
boot_timeout = "1m"
grace = "5s"
`

// setting reads a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}

func lasting(t *testing.T) time.Duration {
	text := os.Getenv("BANGER_MODEL_TIME")
	if text == "" {
		return time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("BANGER_MODEL_TIME: %v", err)
	}
	return d
}

// TestModel plays fake machines; real ones with BANGER_MODEL_GUESTS=real.
func TestModel(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: the model, with -short")
	}
	seed := setting(t, "BANGER_MODEL_SEED", rand.Uint64())
	steps := setting(t, "BANGER_MODEL_STEPS", 1<<62)
	clients := setting(t, "BANGER_MODEL_CLIENTS", 1)
	fmt.Printf("model: BANGER_MODEL_SEED=%d plays these steps again\n", seed)
	w := newWorld(t)
	err := w.play(t.Context(), newPlan(seed, len(w.tracks), w.operations(), disturbances()), int(clients), int(steps), lasting(t))
	fmt.Printf("model: %v\n", w.tally)
	if err != nil {
		t.Fatalf("BANGER_MODEL_SEED=%d: %v", seed, err)
	}
	if err := w.end(); err != nil {
		t.Fatalf("BANGER_MODEL_SEED=%d: at the end: %v", seed, w.withStory(err))
	}
}

// lookEvery is how many steps are made between two looks at everything.
const lookEvery = 150

// play has clients make steps, until one fails, there are enough, or the time is over.
func (w *world) play(ctx context.Context, p *plan, clients, steps int, lasting time.Duration) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	over := time.Now().Add(lasting)
	var next atomic.Int64
	var work sync.WaitGroup
	for range clients {
		work.Go(func() {
			for ctx.Err() == nil && time.Now().Before(over) {
				n := int(next.Add(1) - 1)
				if n >= steps {
					return
				}
				err := w.do(ctx, p.step(n))
				if err == nil && n%lookEvery == lookEvery-1 {
					err = w.look(ctx)
				}
				if err != nil && ctx.Err() == nil {
					stop(w.withStory(err))
				}
			}
		})
	}
	work.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := w.look(ctx); err != nil {
		return w.withStory(err)
	}
	return nil
}

func newWorld(t *testing.T) *world {
	scratch := t.TempDir()
	w := &world{scratch: scratch, points: filepath.Join(scratch, "point"), tally: newTally(), real: os.Getenv("BANGER_MODEL_GUESTS") == "real"}
	t.Setenv(faultpoint.Env, w.points)
	t.Setenv("HTTPS_PROXY", fakes.Nowhere)
	var root string
	if w.real {
		root = w.makeReal(t)
	} else {
		root = w.makeFake(t)
	}
	if err := os.WriteFile(filepath.Join(w.home, "config.toml"), fmt.Appendf(nil, w.config, "256M"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.paths, w.client = fakes.PathsOf(w.home), daemonstart.Client(fakes.PathsOf(w.home))
	w.env = append(os.Environ(), "BANGER_HOME="+w.home)
	ports, err := freePorts(2 * len(w.tracks))
	if err != nil {
		t.Fatal(err)
	}
	for range w.tracks {
		w.ports = append(w.ports, ports[:2])
		ports = ports[2:]
	}
	t.Cleanup(func() { w.remove(t, root) })
	return w
}

// makeFake makes a home of fake machines.
func (w *world) makeFake(t *testing.T) (root string) {
	template, disk, err := fakes.Home(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agent, err := fakes.Agent(w.scratch)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BANGER_AGENT", agent)
	if root, err = os.MkdirTemp("", "banger-model-"); err != nil {
		t.Fatal(err)
	}
	w.home = filepath.Join(root, "home")
	w.config = strings.Replace(settings, "DISK", fmt.Sprintf("%dM", disk>>20), 1)
	w.tracks = []*track{newTrack(), newTrack(), newTrack()}
	if w.small, err = smallDisk(w.home); err != nil {
		t.Fatal(err)
	}
	if !w.small {
		fmt.Println("model: NOT RUN: a disk that fills; only root can mount a small one")
	}
	if err := copyHome(t.Context(), template, w.home); err != nil {
		t.Fatal(err)
	}
	return root
}

// makeReal makes a home of real guests, on the file system of the caches.
func (w *world) makeReal(t *testing.T) (root string) {
	programs := t.TempDir()
	if err := guests.Build(t.Context(), programs); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	template, err := guests.Home(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cache, err := harness.Cache()
	if err != nil {
		t.Fatal(err)
	}
	if root, err = os.MkdirTemp(cache, "model-"); err != nil {
		t.Fatal(err)
	}
	w.home = filepath.Join(root, "home")
	w.config = strings.Replace(guests.Settings, `"256M"`, `"%s"`, 1)
	w.tracks = []*track{newTrack(), newTrack()}
	fmt.Println("model: NOT RUN: a disk that fills, with real guests")
	if err := harness.CopyTree(template, w.home); err != nil {
		t.Fatal(err)
	}
	return root
}

// remove ends all processes of a home, and removes it.
func (w *world) remove(t *testing.T, root string) {
	all, err := session.Processes(w.home)
	if err != nil {
		t.Error(err)
	}
	for _, p := range all {
		_ = syscall.Kill(p.PID, syscall.SIGKILL) // it may just have ended
		if err := gone(context.Background(), p.PID); err != nil {
			t.Error(err)
		}
	}
	if w.small {
		if err := unmount(w.home); err != nil {
			t.Error(err)
		}
	}
	if err := os.RemoveAll(root); err != nil {
		t.Error(err)
	}
}

// end deletes all VMs and ends the daemon, and wants nothing to be left.
func (w *world) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), hung)
	defer cancel()
	if err := w.awaitLeases(ctx); err != nil {
		return err
	}
	vms, err := w.client.VMs().List(ctx)
	if err != nil {
		return err
	}
	for _, v := range vms {
		if err := w.client.VMs().Delete(ctx, v.ID, true, nil); err != nil {
			return err
		}
	}
	for n, t := range w.tracks {
		t.states = []state{{}}
		if err := w.client.Images().Delete(ctx, imageName(n)); err != nil && api.KindOf(err) != api.KindNotFound {
			return err
		}
	}
	if err := w.look(ctx); err != nil {
		return err
	}
	if err := daemonstart.StopAndWait(ctx, w.paths); err != nil {
		return err
	}
	for end := time.Now().Add(settleTime); ; time.Sleep(10 * time.Millisecond) { // its last act is to let go of its lock
		all, err := session.Processes(w.home)
		if err == nil && len(all) == 0 {
			break
		}
		if err != nil || time.Now().After(end) {
			return errors.Join(err, fmt.Errorf("left running: %v", all))
		}
	}
	left := slices.DeleteFunc(session.Leftovers(w.home, nil), func(what string) bool { return strings.Contains(what, "- tmpfs banger-model") })
	if len(left) > 0 {
		return fmt.Errorf("left: %v", left)
	}
	return nil
}
