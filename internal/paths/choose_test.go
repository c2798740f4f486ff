package paths

import (
	"os"
	"path/filepath"
	"testing"
)

func TestChoose(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("BANGER_HOME", "") // User looks at the real environment
	for _, v := range []string{"XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(v, "")
	}
	const alices = "owner = \"alice\"\nuid = 1000\ngid = 1000\n"
	for name, c := range map[string]struct {
		record string // empty: none
		uid    int
		env    map[string]string
		system bool
		fails  bool
	}{
		"nothing is installed":             {uid: 1000},
		"root, nothing is installed":       {uid: 0},
		"the owner":                        {record: alices, uid: 1000, system: true},
		"root":                             {record: alices, uid: 0, system: true},
		"another user":                     {record: alices, uid: 1001},
		"a home of one's own":              {record: alices, uid: 1000, env: map[string]string{"BANGER_HOME": home}},
		"user mode by wish":                {record: alices, uid: 1000, env: map[string]string{ModeEnv: "user"}},
		"system mode by wish":              {uid: 1001, env: map[string]string{ModeEnv: "system"}, system: true},
		"the wish wins over a home":        {uid: 1, env: map[string]string{ModeEnv: "system", "BANGER_HOME": home}, system: true},
		"nonsense":                         {uid: 1000, env: map[string]string{ModeEnv: "both"}, fails: true},
		"a record without an owner":        {record: "version = \"1\"\n", uid: 1000, fails: true},
		"a record with a wrong owner":      {record: "uid = -1\n", uid: 1000, fails: true},
		"user mode by wish, broken record": {record: "uid = x\n", uid: 1000, env: map[string]string{ModeEnv: "user"}},
	} {
		t.Run(name, func(t *testing.T) {
			record := filepath.Join(t.TempDir(), "install.toml")
			if c.record != "" {
				if err := os.WriteFile(record, []byte(c.record), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p, err := choose(func(name string) string { return c.env[name] }, c.uid, record)
			if (err != nil) != c.fails {
				t.Fatal(err)
			}
			if p.Managed != c.system {
				t.Errorf("system mode: %v", p.Managed)
			}
		})
	}
}
