package imageconfig

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"banger/api"
)

func TestCommand(t *testing.T) {
	web := &api.ImageConfig{Entrypoint: []string{"/start", "-v"}, Cmd: []string{"serve", "80"}, WorkingDir: "/srv", StopSignal: "SIGQUIT"}
	base := &api.ImageConfig{Cmd: []string{"bash"}}
	name := func(s string) *string { return &s }
	for what, c := range map[string]struct {
		config     *api.ImageConfig
		entrypoint *string
		exec, want api.Exec
	}{
		"nothing anywhere: a shell": {
			exec: api.Exec{TTY: true}, want: api.Exec{TTY: true}},
		"a command where there is no configuration": {
			exec: api.Exec{Argv: []string{"uname", "-a"}}, want: api.Exec{Argv: []string{"uname", "-a"}}},
		"Entrypoint and Cmd": {
			config: web, want: api.Exec{Argv: []string{"/start", "-v", "serve", "80"}, StopSignal: 3}},
		"arguments stand for Cmd": {
			config: web, exec: api.Exec{Argv: []string{"help"}}, want: api.Exec{Argv: []string{"/start", "-v", "help"}, StopSignal: 3}},
		"another entrypoint stands for both": {
			config: web, entrypoint: name("id"), want: api.Exec{Argv: []string{"id"}, StopSignal: 3}},
		"with arguments of its own": {
			config: web, entrypoint: name("id"), exec: api.Exec{Argv: []string{"-u"}}, want: api.Exec{Argv: []string{"id", "-u"}, StopSignal: 3}},
		"no entrypoint: a shell": {
			config: web, entrypoint: name(""), exec: api.Exec{TTY: true}, want: api.Exec{TTY: true}},
		"no entrypoint: the command itself": {
			config: web, entrypoint: name(""), exec: api.Exec{Argv: []string{"id"}}, want: api.Exec{Argv: []string{"id"}}},
		"an image of a distribution, on a terminal": {
			config: base, exec: api.Exec{TTY: true}, want: api.Exec{Argv: []string{"bash"}, TTY: true, Dir: "/"}},
		"and without one": {
			config: base, want: api.Exec{Argv: []string{"bash"}, Dir: "/", StopSignal: 15}},
		"a command of our own there": {
			config: base, exec: api.Exec{Argv: []string{"make"}}, want: api.Exec{Argv: []string{"make"}}},
		"our own directory": {
			config: base, exec: api.Exec{Dir: "/x", TTY: true}, want: api.Exec{Argv: []string{"bash"}, TTY: true, Dir: "/x"}},
		"an empty configuration": {
			config: &api.ImageConfig{}, want: api.Exec{}},
		"an entrypoint where there is no configuration": {
			entrypoint: name("id"), want: api.Exec{Argv: []string{"id"}, StopSignal: 15}},
	} {
		if diff := cmp.Diff(c.want, Command(c.config, c.entrypoint, c.exec)); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
	if web.Entrypoint[1] != "-v" || len(web.Cmd) != 2 {
		t.Errorf("the configuration was changed: %+v", web)
	}
}

// TestBackground: what runs without a client is asked to end as the image says, or
// by SIGTERM, whoever's program it is.
func TestBackground(t *testing.T) {
	quit := &api.ImageConfig{Cmd: []string{"serve"}, StopSignal: "SIGQUIT"}
	for what, c := range map[string]struct {
		config *api.ImageConfig
		argv   []string
		want   int
	}{
		"no configuration": {nil, []string{"redis-server"}, 15}, "the image's own": {quit, nil, 3},
		"a command of our own": {quit, []string{"redis-server"}, 3}, "no signal": {&api.ImageConfig{}, []string{"redis-server"}, 15},
	} {
		e, any := Background(c.config, &api.Background{Argv: c.argv})
		if !any || !e.Main || e.StopSignal != c.want {
			t.Errorf("%s: %+v, %v", what, e, any)
		}
	}
	if _, any := Background(nil, &api.Background{}); any {
		t.Error("nothing is something to run")
	}
}

func TestComplete(t *testing.T) {
	c := &api.ImageConfig{Env: []string{"A=image", "B=image"}, User: "app", WorkingDir: "/srv", Entrypoint: []string{"x"}}
	for what, p := range map[string]struct {
		config     *api.ImageConfig
		exec, want api.Exec
	}{
		"no configuration": {nil, api.Exec{Env: []string{"A=1"}}, api.Exec{Env: []string{"A=1"}}},
		"all of the image": {c, api.Exec{Argv: []string{"id"}},
			api.Exec{Argv: []string{"id"}, Env: []string{"A=image", "B=image"}, User: "app", Dir: "/srv", MakeDir: true}},
		"our own first": {c, api.Exec{Env: []string{"A=ours"}, User: "root", Dir: "/tmp"},
			api.Exec{Env: []string{"A=image", "B=image", "A=ours"}, User: "root", Dir: "/tmp"}},
		"an empty one": {&api.ImageConfig{}, api.Exec{}, api.Exec{}},
	} {
		if diff := cmp.Diff(p.want, Complete(p.config, p.exec)); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
	}
}

func TestHeader(t *testing.T) {
	c := &api.ImageConfig{Env: []string{"A=\x7f\r\nX: y\u00e4"}, User: "app", WorkingDir: "/srv"}
	value := FormatHeader(c)
	if strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") != "" {
		t.Errorf("%q", value)
	}
	got, err := ParseHeader(value)
	if diff := cmp.Diff(c, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, none := range []*api.ImageConfig{nil, {}, {Cmd: []string{"bash"}}} {
		if value := FormatHeader(none); value != "" {
			t.Errorf("%+v gives %q", none, value)
		}
	}
	if got, err := ParseHeader(""); got != nil || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"!", "e30", "bnVsbA", "W10="} {
		if _, err := ParseHeader(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestForVM(t *testing.T) {
	many := make([]string, 1<<13)
	for what, c := range map[string]struct {
		config api.ImageConfig
		want   string // part of the error
	}{
		"fine":                 {config: api.ImageConfig{Env: []string{"A=", "B=c=d"}, WorkingDir: "/x", StopSignal: "SIGRTMIN+3"}},
		"no signal":            {api.ImageConfig{StopSignal: "SIGNOTHING"}, `StopSignal "SIGNOTHING", which is not a valid signal`},
		"a NUL in Env":         {api.ImageConfig{Env: []string{"A=\x00"}}, "NUL character"},
		"a NUL in Cmd":         {api.ImageConfig{Cmd: []string{"a", "b\x00"}}, "NUL character"},
		"a NUL in User":        {api.ImageConfig{User: "a\x00"}, "NUL character"},
		"one that is too long": {api.ImageConfig{Env: []string{"A=" + strings.Repeat("x", 1<<20)}}, "takes 1024 KiB: at most 64 are possible"},
		"too many":             {api.ImageConfig{Cmd: many}, "takes 64 KiB"},
		"too many ports":       {api.ImageConfig{ExposedPorts: many}, "takes 64 KiB"},
	} {
		got, err := ForVM("web", &c.config)
		switch {
		case c.want == "" && err == nil:
			if diff := cmp.Diff(&c.config, got); diff != "" {
				t.Errorf("%s:\n%s", what, diff)
			}
		case err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "cannot use image web: its configuration "):
			t.Errorf("%s: %v", what, err)
		case api.KindOf(err) != api.KindInvalid || api.AsError(err).Hint == "":
			t.Errorf("%s: %+v", what, api.AsError(err))
		}
	}
	odd := &api.ImageConfig{Env: []string{"A", "B=1", "=x", "a\nb"}, WorkingDir: "srv/app"}
	if got, err := ForVM("web", odd); err != nil || strings.Join(got.Env, " ") != "B=1" || got.WorkingDir != "/srv/app" || len(odd.Env) != 4 {
		t.Errorf("%+v of %+v, %v", got, odd, err)
	}
	with := &api.ImageConfig{User: "app", Labels: map[string]string{"a": "b"}}
	got, err := ForVM("web", with)
	if err != nil || got.User != "app" || got.Labels != nil || with.Labels == nil {
		t.Errorf("%+v of %+v, %v", got, with, err)
	}
	if got, err := ForVM("debian", nil); got != nil || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSignal(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "SIGTERM": 15, "term": 15, "SigInt": 2, "9": 9, "64": 64, "SIGWINCH": 28,
		"SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMAX": 64, "SIGRTMAX-1": 63, "RTMAX-30": 34, "SIGRTMIN+30": 64,
		"0": -1, "65": -1, "-9": -1, "SIG": -1, "SIGFOO": -1, "SIGRTMIN+31": -1, "SIGRTMIN-1": -1, "SIGRTMIN+": -1, "RTMAX+1": -1, "SIGRTMAX-31": -1,
		"SIG9": -1, " TERM": -1,
	} {
		got, err := signal(text)
		if want < 0 != (err != nil) || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
