package cli

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"banger/api"
	"banger/internal/doctor"
)

// TestDoctorOfALook: if all checks pass, the doctor says what they cannot know; where
// something is wrong, or a guest was started, that is no news.
func TestDoctorOfALook(t *testing.T) {
	const cannotKnow = "Everything checked is in order. To check that a guest starts: banger doctor --try"
	for name, c := range map[string]struct {
		status string
		want   bool
	}{"all is well": {doctor.OK, true}, "a warning": {doctor.Warn, false}, "a failure": {doctor.Fail, false}} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.HandleFunc("GET /v1/doctor", func(rw http.ResponseWriter, _ *http.Request) {
				answer(rw, api.Doctor{Checks: []api.Check{{Name: "kvm", Status: c.status, Found: "something", Why: "a reason"}}})
			})
			out, errs, _ := run("doctor")
			if strings.Contains(out, cannotKnow) != c.want || errs != "" {
				t.Errorf("%s%s", out, errs)
			}
		})
	}
}

// trying adds what a trial asks for. created answers the creation of the VM.
func (w *fixture) trying(created http.HandlerFunc) {
	w.HandleFunc("GET /v1/config", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, api.Config{Values: []api.ConfigValue{{Key: "boot_timeout", Value: "2m0s"}}})
	})
	w.HandleFunc("GET /v1/doctor", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, api.Doctor{Checks: []api.Check{{Name: "kvm", Status: doctor.OK, Found: "works", Why: "a reason"}}})
	})
	w.HandleFunc("GET /v1/kernels/default", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, api.Kernel{Digest: "sha256:cc"}) })
	w.HandleFunc("POST /v1/images/import", func(rw http.ResponseWriter, _ *http.Request) {
		done(rw, nil, &api.Result{Image: &api.Image{DiskBytes: 3<<20 + 1}})
	})
	w.HandleFunc("POST /v1/vms", created)
	w.HandleFunc("DELETE /v1/images/{image}", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, struct{}{}) })
}

// TestTrialThatCannotBeRemoved: what is left is said, with what removes it.
func TestTrialThatCannotBeRemoved(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	w.trying(func(rw http.ResponseWriter, _ *http.Request) {
		made := vm("doctor-try-1", api.StateRunning)
		done(rw, nil, &api.Result{VM: &made})
	})
	w.HandleFunc("DELETE /v1/vms/{vm}", func(rw http.ResponseWriter, _ *http.Request) {
		done(rw, api.Errorf(api.KindInternal, "the device is busy"), nil)
	})
	out, _, status := run("doctor", "--try")
	for _, want := range []string{"fail  trial: failed at step removal: cannot remove the trial VM and its image: the device is busy\n", "try: banger vm delete --force doctor-try-"} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
	if status != exitFailed {
		t.Errorf("status %d", status)
	}
}

// TestTrialSaysTheStep: of the daemon's operations the one that failed is found, and
// both the failure and what could not be removed are said.
func TestTrialSaysTheStep(t *testing.T) {
	w := newFixture(t)
	broken := api.Errorf(api.KindInternal, "cannot make /dev/userfaultfd")
	w.trying(func(rw http.ResponseWriter, _ *http.Request) { done(rw, broken, nil) })
	w.HandleFunc("GET /v1/operations", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, api.OperationList{Operations: []api.Operation{
			{Step: "kill", Status: api.OpDone},
			{Step: "disk", Status: api.OpFailed, Error: api.Errorf(api.KindInternal, "something else")},
			{Step: "vmm", Status: api.OpFailed, Error: broken},
		}})
	})
	w.HandleFunc("DELETE /v1/vms/{vm}", func(rw http.ResponseWriter, _ *http.Request) {
		fail(rw, api.Errorf(api.KindNotFound, "no such VM"))
	})
	out, _, status := run("doctor", "--try")
	if !strings.Contains(out, "fail  trial: failed at step vmm: cannot make /dev/userfaultfd\n") || status != exitFailed {
		t.Errorf("status %d:\n%s", status, out)
	}
	if !strings.Contains(w.called(), "DELETE /v1/images/doctor-try-") {
		t.Errorf("it did not remove its image:\n%s", w.called())
	}
}

// TestTrialRemovesWhatAnEarlierOneLeft: images of trials that were killed go; those of one
// that may still run, and other people's, stay.
func TestTrialRemovesWhatAnEarlierOneLeft(t *testing.T) {
	w := newFixture(t)
	w.guest(t)
	var asked api.CreateVM
	w.trying(func(rw http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		done(rw, api.Errorf(api.KindInternal, "no"), nil)
	})
	day := time.Now().Add(-24 * time.Hour)
	w.HandleFunc("GET /v1/images", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, api.ImageList{Images: []api.Image{
			{Names: []string{"doctor-try-000001"}, CreatedAt: day},
			{Names: []string{"doctor-try-000002"}, CreatedAt: day, UsedBy: []string{"a"}},
			{Names: []string{"doctor-try-000003"}, CreatedAt: time.Now()},
			{Names: []string{"debian"}, CreatedAt: day},
		}})
	})
	run("doctor", "--try")
	deleted := regexp.MustCompile("DELETE /v1/images/([a-z0-9-]+)").FindAllStringSubmatch(w.called(), -1)
	if len(deleted) != 2 || deleted[0][1] != "doctor-try-000001" {
		t.Errorf("it removed %q, and is to remove doctor-try-000001 and its own", deleted)
	}
	if !asked.Lease || !asked.AutoRemove {
		t.Error("a trial's VM outlives its client")
	}
}
