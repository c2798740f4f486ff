package doctor

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestLVM(t *testing.T) {
	const conf, local = "/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf"
	for name, c := range map[string]struct {
		files  map[string]string
		status string
	}{
		"no settings":              {nil, Warn},
		"Debian's":                 {map[string]string{conf: "devices {\n\t# global_filter = [ \"r|^/dev/loop|\", \"r|^/dev/mapper/banger-|\" ]\n\t# use_devicesfile = 0\n}\n"}, Warn},
		"as is advised":            {map[string]string{conf: "devices {\n\t" + lvmFilter + "\n}\n"}, OK},
		"in several lines":         {map[string]string{conf: "devices {\n\tglobal_filter = [\n\t\"r|^/dev/loop|\",\n\t\"r#banger#\" ]\n}\n"}, OK},
		"in the local file":        {map[string]string{conf: "devices {\n}\n", local: "devices/" + lvmFilter + "\n"}, OK},
		"undone there":             {map[string]string{conf: lvmFilter, local: "global_filter = []\n"}, Warn},
		"all but some":             {map[string]string{conf: `global_filter = [ "a|^/dev/sda2$|", "r|.*|" ]`}, OK},
		"only loops":               {map[string]string{conf: `global_filter = [ "r|^/dev/loop|" ]`}, Warn},
		"accepts them":             {map[string]string{conf: `global_filter = [ "a|loop|", "a|banger|" ]`}, Warn},
		"a filter of commands":     {map[string]string{conf: strings.TrimPrefix(lvmFilter, "global_")}, Warn},
		"a list of devices":        {map[string]string{conf: "use_devicesfile = 1\n", lvmDevices: ""}, OK},
		"a list that is not used":  {map[string]string{conf: "use_devicesfile = 0\n", lvmDevices: ""}, Warn},
		"a list that is not there": {map[string]string{conf: "use_devicesfile = 1\n"}, Warn},
	} {
		h := good()
		h.ReadFile = func(path string) ([]byte, error) {
			if text, ok := c.files[path]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		}
		if got := lvm(t.Context(), h); got.Status != c.status || got.Found == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	h := good()
	h.ReadFile = func(string) ([]byte, error) { return nil, os.ErrPermission }
	if got := lvm(t.Context(), h); got.Status != Warn || !strings.Contains(got.Found, "cannot find out") {
		t.Errorf("unreadable: %+v", got)
	}
	h.LookPath = func(string) (string, error) { return "", errors.New("not there") }
	if got := lvm(t.Context(), h); got.Status != OK {
		t.Errorf("not installed: %+v", got)
	}
}

// TestTheFilterIsDocumented: what the doctor says to type is what the runbook says.
func TestTheFilterIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), lvmFilter) {
		t.Errorf("docs/runbook.md does not say %s", lvmFilter)
	}
}
