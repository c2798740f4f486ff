package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"banger/api"

	"github.com/spf13/cobra"
)

func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

func TestEveryCommand(t *testing.T) {
	walk(Root(), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || len(cmd.Short) > 70 {
			t.Errorf("%s: Short is %q", path, cmd.Short)
		}
		if !strings.Contains(cmd.Example, "banger") {
			t.Errorf("%s has no example", path)
		}
		for line := range strings.Lines(cmd.Long) {
			if len(line) > 101 {
				t.Errorf("%s: a line of its help has %d columns", path, len(line))
			}
		}
		if cmd.Args == nil && path != "banger vm run" { // which takes any command
			t.Errorf("%s does not check its arguments", path)
		}
		if verb := cmd.Name(); (verb == "list" || verb == "show" || verb == "ps" || verb == "status") && cmd.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", path)
		}
	})
}

// TestEveryCommandHasAFile: the file is named after the command, and contains it, as
// docs/architecture.md says.
func TestEveryCommandHasAFile(t *testing.T) {
	files, err := filepath.Glob("cmd_*.go")
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, name := range files {
		left[name] = true
	}
	walk(Root(), func(cmd *cobra.Command) {
		words := strings.Fields(strings.ReplaceAll(cmd.CommandPath(), "-", " "))[1:]
		if len(words) == 0 || cmd.Name() == "help" { // which are in main.go
			return
		}
		name := "cmd_" + strings.Join(words, "_") + ".go"
		delete(left, name)
		// For "vm run": newVMRun.
		data, err := os.ReadFile(name)
		maker := regexp.MustCompile(`(?im)^func new` + strings.Join(words, "") + `\(`)
		if err != nil || !maker.Match(data) {
			t.Errorf("%s: %s does not make it: %v", cmd.CommandPath(), name, err)
		}
	})
	for name := range left {
		t.Errorf("%s is not named after a command", name)
	}
}

func TestBadCommandLines(t *testing.T) {
	newFixture(t)
	for line, want := range map[string]string{
		"frob":                            "banger: unknown command \"banger frob\"\n  try: banger --help\n",
		"vm lst":                          "banger: unknown command \"banger vm lst\"\n  try: banger vm list\n",
		"vm run --frob":                   "banger: unknown flag: --frob\n  try: banger vm run --help\n",
		"vm run --memory 4":               "banger: cannot use --memory: \"4\" has no unit: use 4M or 4G\n  try: banger vm run --help\n",
		"vm run --memory -4G":             "banger: cannot use --memory: \"-4G\" is negative: use a size such as 512M or 4G\n  try: banger vm run --help\n",
		"vm run --disk 0G":                "banger: cannot use --disk: \"0G\" is zero: use a size such as 512M or 4G\n  try: banger vm run --help\n",
		"vm run --vcpu 0":                 "banger: cannot use --vcpu: 0 processors: a VM has from 1 to 128\n  try: banger vm run --help\n",
		"vm run --vcpu many":              "banger: cannot use --vcpu: \"many\" is not an integer\n  try: banger vm run --help\n",
		"vm run --image=":                 "banger: cannot use --image: it is empty\n  try: banger vm run --help\n",
		"vm run -d -t -- true":            "banger: --detach and --tty exclude each other\n  try: banger vm run --help\n",
		"vm run --env =x":                 "banger: cannot use --env \"=x\": write NAME=value or NAME\n  try: banger vm run --help\n",
		"vm exec dev":                     "banger: banger vm exec needs the name of a VM and a command\n  try: banger vm exec --help\n",
		"vm exec --user= dev -- id":       "banger: cannot use --user: it is empty\n  try: banger vm exec --help\n",
		"vm exec dev --":                  "banger: banger vm exec needs a command after --\n  try: banger vm exec --help\n",
		"vm delete":                       "banger: banger vm delete needs the name of a VM, or --all\n  try: banger vm delete --help\n",
		"vm delete --all dev":             "banger: --all takes no names, got \"dev\"\n  try: banger vm delete --help\n",
		"vm stop --grace 0s dev":          "banger: cannot use --grace 0s: it must be positive and at most 24h; `banger vm kill` does not wait\n  try: banger vm stop --help\n",
		"vm show":                         "banger: banger vm show needs the name of a VM\n  try: banger vm show --help\n",
		"vm logs -n -1 dev":               "banger: cannot use --tail -1: it is negative\n  try: banger vm logs --help\n",
		"kernel import --host vmlinux":    "banger: --host takes no file and no --modules\n  try: banger kernel import --help\n",
		"completion tcsh":                 "banger: cannot complete for \"tcsh\": use bash, fish or zsh\n  try: banger completion --help\n",
		"vm create one --name two":        "banger: cannot use two names: \"one\" and --name \"two\"\n  try: banger vm create --help\n",
		"daemon status please":            "banger: banger daemon status takes no argument, got \"please\"\n  try: banger daemon status --help\n",
		"vm run --memory 99999999999999T": "banger: cannot use --memory: \"99999999999999T\" is too large\n  try: banger vm run --help\n",
	} {
		stdout, stderr, status := run(strings.Fields(line)...)
		if stdout != "" || stderr != want || status != exitUsage {
			t.Errorf("banger %s\ngot  %q, status %d, and %q\nwant %q", line, stderr, status, stdout, want)
		}
	}
}

func TestListAndPs(t *testing.T) {
	w := newFixture(t)
	vms := []api.VM{vm("dev", api.StateRunning), vm("web-1", api.StateStopped)}
	w.HandleFunc("GET /v1/vms", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, api.VMList{VMs: vms}) })
	if out, errs, status := run("ps", "-q"); out != "dev\n" || errs != "" || status != 0 {
		t.Errorf("ps -q: %q, %q, %d", out, errs, status)
	}
	out, _, _ := run("vm", "list", "--json")
	var listed struct {
		Format int
		VMs    []api.VM
	}
	if err := json.Unmarshal([]byte(out), &listed); err != nil || listed.Format != 1 || len(listed.VMs) != 2 || listed.VMs[1].Name != "web-1" {
		t.Errorf("vm list --json: %v, %s", err, out)
	}
	vms[0].Reason, vms[1].Reason = "its disk is broken", "the guest powered off"
	if _, errs, status := run("ps"); errs != "banger: VM dev: its disk is broken\n" || status != 0 {
		t.Errorf("ps with a VM that has a problem: %q, %d", errs, status)
	}
	if _, errs, status := run("vm", "list"); errs != "banger: VM dev: its disk is broken\n" || status != 0 {
		t.Errorf("vm list with a VM that has a problem: %q, %d", errs, status)
	}
	vms = nil
	if out, errs, status := run("ps", "--json"); out != "{\n  \"format\": 1,\n  \"vms\": []\n}\n" || errs != "" || status != 0 {
		t.Errorf("ps --json without VMs: %q, %q, %d", out, errs, status)
	}
	if out, errs, status := run("ps"); out != "" || errs != "banger: no VM is running; `banger vm list` shows all\n" || status != 0 {
		t.Errorf("ps without VMs: %q, %q, %d", out, errs, status)
	}
}

func TestShow(t *testing.T) {
	w := newFixture(t)
	w.HandleFunc("GET /v1/vms/{vm}", func(rw http.ResponseWriter, r *http.Request) {
		if r.PathValue("vm") == "nope" {
			fail(rw, api.Errorf(api.KindNotFound, "no VM %q", "nope").WithHint("banger vm list"))
			return
		}
		answer(rw, vm(r.PathValue("vm"), api.StateRunning))
	})
	out, _, status := run("vm", "show", "dev")
	for _, want := range []string{"name:     dev\n", "image:    debian (aabbccddeeff)\n", "driver:   qemu (tcg)\n", "memory:   1 GiB\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if status != 0 {
		t.Errorf("status %d", status)
	}
	if _, errs, status := run("vm", "show", "nope"); errs != "banger: no VM \"nope\"\n  try: banger vm list\n" || status != 1 {
		t.Errorf("%q, status %d", errs, status)
	}
	out, errs, status := run("vm", "show", "--json", "dev", "nope", "web")
	if strings.Count(out, `"id"`) != 2 || !strings.Contains(out, `"vms": [`) || !strings.Contains(errs, "nope") || status != 1 {
		t.Errorf("%s%s, status %d", out, errs, status)
	}
}

// Work on several VMs runs at once, a bad name does not stop the others, and
// the output keeps the order given.
func TestSeveralNames(t *testing.T) {
	w := newFixture(t)
	third := make(chan struct{})
	w.HandleFunc("POST /v1/vms/{vm}/stop", func(rw http.ResponseWriter, r *http.Request) {
		switch r.PathValue("vm") {
		case "a":
			<-third // they do run at once
		case "bad":
			fail(rw, api.Errorf(api.KindNotFound, "no VM \"bad\"").WithHint("banger vm list"))
			return
		case "c":
			close(third)
		}
		done(rw, nil, &api.Result{VM: &api.VM{}})
	})
	out, errs, status := run("vm", "stop", "a", "bad", "c")
	if out != "a\nc\n" || errs != "banger: no VM \"bad\"\n  try: banger vm list\n" || status != 1 {
		t.Errorf("%q, %q, status %d", out, errs, status)
	}
}

func TestDeleteAll(t *testing.T) {
	w := newFixture(t)
	w.HandleFunc("GET /v1/vms", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, api.VMList{VMs: []api.VM{vm("dev", api.StateRunning), vm("web", api.StateStopped)}})
	})
	w.HandleFunc("DELETE /v1/vms/{vm}", func(rw http.ResponseWriter, _ *http.Request) { done(rw, nil, nil) })
	out, errs, status := run("vm", "delete", "--all")
	if out != "web\n" || errs != "banger: not deleted because they are running: 1 (--force deletes them too)\n" || status != 0 {
		t.Errorf("%q, %q, status %d", out, errs, status)
	}
	if out, _, _ := run("vm", "delete", "--all", "--force"); out != "dev\nweb\n" || !strings.Contains(w.called(), "DELETE /v1/vms/dev?force=1") {
		t.Errorf("%q, asked\n%s", out, w.called())
	}
}

func TestCompletionKnowsLiveNames(t *testing.T) {
	w := newFixture(t)
	w.HandleFunc("GET /v1/vms", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, api.VMList{VMs: []api.VM{vm("dev", api.StateRunning), vm("web", api.StateStopped)}})
	})
	if out, _, _ := run("__complete", "vm", "stop", "dev", ""); !strings.HasPrefix(out, "web\n:4\n") {
		t.Errorf("got %q", out)
	}
	t.Setenv("BANGER_HOME", t.TempDir()) // no daemon: none is started
	if out, _, _ := run("__complete", "vm", "stop", ""); !strings.HasPrefix(out, ":4\n") {
		t.Errorf("got %q", out)
	}
}

func TestDaemonThatDoesNotRun(t *testing.T) {
	t.Setenv("BANGER_HOME", t.TempDir())
	if _, errs, status := run("daemon", "status"); !strings.HasPrefix(errs, "banger: the daemon is not running\n") || status != 1 {
		t.Errorf("%q, status %d", errs, status)
	}
	t.Setenv("BANGERD", "/nonexistent/bangerd")
	out, _, status := run("doctor")
	if !strings.HasPrefix(out, "fail  daemon: cannot start the daemon /nonexistent/bangerd") || !strings.Contains(out, "\nok    ") || status != 1 {
		t.Errorf("doctor: %q, status %d", out, status)
	}
}
