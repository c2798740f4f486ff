package imageconfig

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"banger/api"
)

// TestWithTools runs the script with a mise that only says what it is asked.
func TestWithTools(t *testing.T) {
	const mise = `#!/bin/sh
[ "$1" != "$FAIL" ] || { echo "mise $1 fails"; exit 3; }
case $1 in
exec) shift 2; TOOL=1.2 exec "$@" ;;
*) echo "$*" ;;
esac
`
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "mise"), []byte(mise), 0o755); err != nil {
		t.Fatal(err)
	}
	command := []string{"/bin/sh", "-c", `echo "tool $TOOL" "$@"; exit 4`, "x", "a b", ""}
	for name, c := range map[string]struct {
		file, path, fail string
		argv             []string
		status           int
		want             string
	}{
		"a file of mise":       {file: ".mise.toml", path: bin, argv: command, status: 4, want: "trust --quiet .mise.toml\ninstall --yes\ntool 1.2 a b \n"},
		"a file of asdf":       {file: ".tool-versions", path: bin, argv: command, status: 4, want: "trust --quiet .tool-versions\ninstall --yes\ntool 1.2 a b \n"},
		"in a directory":       {file: ".config/mise.toml", path: bin, argv: command, status: 4, want: "trust --quiet .config/mise.toml\ninstall --yes\ntool 1.2 a b \n"},
		"nothing but tools":    {file: "mise.toml", path: bin, want: "trust --quiet mise.toml\ninstall --yes\n"},
		"no file":              {path: bin, argv: command, status: 4, want: "tool  a b \n"},
		"no file, no mise":     {argv: command, status: 4, want: "tool  a b \n"},
		"no file, no command":  {},
		"no mise":              {file: "mise.toml", argv: command, status: 127, want: "banger: DIR/mise.toml names tools, but this image has no mise\n"},
		"it does not install":  {file: "mise.toml", path: bin, fail: "install", argv: command, status: 125, want: "trust --quiet mise.toml\nmise install fails\nbanger: mise could not install the tools of DIR/mise.toml; the lines above say why\n"},
		"it trusts not a file": {file: "mise.toml", path: bin, fail: "trust", argv: command, status: 125, want: "mise trust fails\nbanger: mise could not install the tools of DIR/mise.toml; the lines above say why\n"},
	} {
		dir := t.TempDir()
		if c.file != "" {
			path := filepath.Join(dir, c.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		argv := WithTools(api.ToolsMise, api.Exec{Argv: c.argv}).Argv
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + c.path, "FAIL=" + c.fail, "PWD=" + dir}
		out, _ := cmd.CombinedOutput() // the status says how it ended
		if got := strings.ReplaceAll(string(out), dir, "DIR"); got != c.want || cmd.ProcessState.ExitCode() != c.status {
			t.Errorf("%s: status %d, %q, want %d, %q", name, cmd.ProcessState.ExitCode(), got, c.status, c.want)
		}
	}
	if e := WithTools("", api.Exec{Argv: command}); len(e.Argv) != len(command) {
		t.Errorf("%q", e.Argv)
	}
}
