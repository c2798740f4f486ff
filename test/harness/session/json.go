package session

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// jsonCommand looks at one field of a JSON text.
func jsonCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2 || len(args) == 3, "[!] json FILE PATH [VALUE]")
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
	got, err := field(v, args[1])
	ts.Check(err)
	if len(args) == 2 {
		fmt.Fprintln(ts.Stdout(), got)
		return
	}
	if (got == args[2]) == neg {
		ts.Fatalf("%s is %q", args[1], got)
	}
}

// field finds a value by its path: names, and numbers in lists, between dots. The
// last name may be -count.
func field(v any, path string) (string, error) {
	for name := range strings.SplitSeq(path, ".") {
		switch node := v.(type) {
		case map[string]any:
			if name == "-count" {
				v = len(node)
				continue
			}
			child, ok := node[name]
			if !ok {
				return "", fmt.Errorf("%q of %s is missing", name, path)
			}
			v = child
		case []any:
			if name == "-count" {
				v = len(node)
				continue
			}
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(node) {
				return "", fmt.Errorf("%s is not in a list of %d (%s)", name, len(node), path)
			}
			v = node[i]
		default:
			return "", fmt.Errorf("%q is below a plain value (%s)", name, path)
		}
	}
	if text, ok := v.(string); ok {
		return text, nil
	}
	data, err := json.Marshal(v)
	return string(data), err
}
