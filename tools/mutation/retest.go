package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// changes are gremlins' changes of a token, by their names.
var changes = map[string]map[string]string{
	"CONDITIONALS_BOUNDARY": {">=": ">", ">": ">=", "<=": "<", "<": "<="},
	"CONDITIONALS_NEGATION": {"==": "!=", "!=": "==", ">=": "<", ">": "<=", "<=": ">", "<": ">="},
	"ARITHMETIC_BASE":       {"+": "-", "-": "+", "*": "/", "/": "*", "%": "*"},
	"INVERT_LOGICAL":        {"&&": "||", "||": "&&"},
	"INVERT_BITWISE":        {"&^": "&", "&": "|", "|": "&", "^": "&", "<<": ">>", ">>": "<<"},
	"INVERT_NEGATIVES":      {"-": "+"},
	"INVERT_LOOPCTRL":       {"break": "continue", "continue": "break"},
	"INCREMENT_DECREMENT":   {"++": "--", "--": "++"},
	"INVERT_ASSIGNMENTS":    {"+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "%=": "%="},
	"INVERT_BWASSIGN":       {"&=": "|=", "|=": "&=", "^=": "&=", "&^=": "&=", "<<=": ">>=", ">>=": "<<="},
	"REMOVE_SELF_ASSIGNMENTS": {
		"+=": "=", "-=": "=", "*=": "=", "/=": "=", "%=": "=", "&=": "=", "|=": "=", "^=": "=", "&^=": "=", "<<=": "=", ">>=": "=",
	},
}

// change returns the source with a mutant in it.
func change(source []byte, m mutant) ([]byte, error) {
	lines := bytes.SplitAfter(source, []byte("\n"))
	if m.Line < 1 || m.Line > len(lines) || m.Column < 1 || m.Column > len(lines[m.Line-1]) {
		return nil, fmt.Errorf("%s has no line %d of %d bytes", m.File, m.Line, m.Column)
	}
	before, rest := lines[m.Line-1][:m.Column-1], lines[m.Line-1][m.Column-1:]
	longest := ""
	for token := range changes[m.Type] {
		if bytes.HasPrefix(rest, []byte(token)) && len(token) > len(longest) {
			longest = token
		}
	}
	if longest == "" {
		return nil, fmt.Errorf("%s:%d:%d: %s of %.10q is not known", m.File, m.Line, m.Column, m.Type, rest)
	}
	lines[m.Line-1] = fmt.Appendf(nil, "%s%s%s", before, changes[m.Type][longest], rest[len(longest):])
	return bytes.Join(lines, nil), nil
}

// retest tests the mutants that gremlins did not test, as no test reaches them, and
// those whose tests took too long. The first happens for the conditions of a switch
// without a tag and for constants, however well tested: they are in no block of a
// coverage profile. The second may happen because the machine was busy.
func (r runner) retest(ctx context.Context, pkg string, all []mutant) error {
	limit, err := r.usual(ctx, pkg)
	if err != nil {
		return err
	}
	for i, m := range all {
		if m.Status != "NOT COVERED" && m.Status != "TIMED OUT" {
			continue
		}
		source, err := os.ReadFile(m.File)
		if err != nil {
			return err
		}
		if source, err = change(source, m); err != nil {
			return err
		}
		if all[i].Status, err = r.try(ctx, pkg, m.File, source, limit); err != nil {
			return err
		}
		if all[i].Status == "TIMED OUT" {
			now, err := r.usual(ctx, pkg)
			if err != nil {
				return err
			}
			if now > limit { // the machine is busier than before
				if all[i].Status, err = r.try(ctx, pkg, m.File, source, now); err != nil {
					return err
				}
			}
		}
		fmt.Printf("%12s %s at %s:%d:%d\n", all[i].Status, m.Type, filepath.Base(m.File), m.Line, m.Column)
	}
	return nil
}

// usual returns how long tests may take: a multiple of their time without a mutant, and
// at most mostTime.
func (r runner) usual(ctx context.Context, pkg string) (time.Duration, error) {
	began := time.Now()
	status, err := r.try(ctx, pkg, "", nil, tryTime)
	if err == nil && status != "LIVED" {
		err = fmt.Errorf("without a mutant: %s", status)
	}
	return min(time.Duration(r.patience)*time.Since(began), mostTime), err
}

const (
	mostTime = 5 * time.Minute  // bounds the tests with a mutant
	tryTime  = 20 * time.Minute // bounds the tests without a mutant
)

// try runs the tests of a package with a changed content of a file.
func (r runner) try(ctx context.Context, pkg, file string, content []byte, limit time.Duration) (status string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	replace := map[string]string{}
	if file != "" {
		mutated := filepath.Join(dir, "mutant.go")
		if err := os.WriteFile(mutated, content, 0o600); err != nil {
			return "", err
		}
		replace[file] = mutated
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace}) // go help build, -overlay
	if err != nil {
		return "", err
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return "", err
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		return "", err
	}
	cmd := cage(ctx, tool, "test", "-count=1", "-failfast", "-timeout", (limit + time.Minute).String(), "-overlay", overlayFile, "./"+pkg)
	cmd.Env = append(os.Environ(), cagedEnv+"="+dir)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return "LIVED", nil
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return "TIMED OUT", nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case strings.Contains(string(out), "[build failed]"):
		return "NOT VIABLE", nil
	case strings.Contains(string(out), "FAIL"):
		return "KILLED", nil
	}
	return "", fmt.Errorf("go test: %w: %s", err, out)
}
