package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// whole is a report in which everything was measured.
func whole() *report {
	r := &report{Crowd: crowdReport{Connections: 10, AgentIdleKiB: 100, AgentFullKiB: 600}, Memory: memoryReport{VMs: 20}}
	r.Memory.Forwarders = []memory{{PSS: 5000, Private: 4000}, {PSS: aimForwarder + 1}, {PSS: aimForwarder + 2}}
	for name, v := range map[string]time.Duration{
		"bare.total": 1000, "api.total": 1007, "cli.total": 1080, "api.before": 3, "api.after": 4, "api.stop": 1, "bare.stop": 1,
		"echo.bare": 1, "cat.bare": 2, "cat.banger": 3, "true.bare": 30, "true.banger": 31, "true.typed": 55, "burst.wall": 9,
		"silent.session.killed": 50, "silent.session.stopped": 51, "silent.port.killed": 52, "silent.port.stopped": 53,
		"echo.downloads": 9, "echo.uploads": 11, "daemon.start": 300,
	} {
		for range 3 {
			r.add(name, v*time.Millisecond)
		}
	}
	return r
}

// TestPage: five lines, the pictures, then the tables.
func TestPage(t *testing.T) {
	text := whole().markdown(machineLine{})
	head, tables, there := strings.Cut(text, "\n## Aims\n")
	if !there || strings.Count(head, "\n- **") != 5 || strings.Count(head, "\n![") != 3 {
		t.Errorf("the page begins\n%s", head)
	}
	for _, want := range []string{
		"11 of 13 are reached; missed: 2; within the noise: 0.", "banger's own work is 7.00 ms", "silent for 53.0 ms", "50.0 KiB of the guest",
	} {
		if !strings.Contains(head, want) {
			t.Errorf("%q is not in\n%s", want, head)
		}
	}
	for _, a := range whole().aims() {
		if !strings.Contains(tables, "| "+a.what+" | ") {
			t.Errorf("no line for: %s", a.what)
		}
	}
}

// TestPageOfAPart has what was measured, and nothing of the rest.
func TestPageOfAPart(t *testing.T) {
	r := &report{}
	r.add("daemon.start", 300*time.Millisecond)
	text := r.tables(machineLine{})
	if n := len(r.aims()); n != 1 || strings.Count(text, "\n## ") != 2 || !strings.Contains(text, "## A daemon's start") {
		t.Errorf("%d aims in\n%s", n, text)
	}
}

func TestChosen(t *testing.T) {
	for only, want := range map[string]int{"": len(partNames), "crowd": 1, "stopped,crowd": 2, "?": 0, "crowd,": 0} {
		if got, err := chosen(only); len(got) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %q, %v", only, got, err)
		}
	}
}

// TestCharts are SVG with the names of what they show, and always the same of the same samples.
func TestCharts(t *testing.T) {
	words := []string{"bare QEMU", "port, daemon stopped", "silent connection, agent", "start, as typed"}
	var all bytes.Buffer
	for i, c := range whole().charts() {
		svg, err := c.svg()
		if err != nil {
			t.Fatal(err)
		}
		again, err := whole().charts()[i].svg()
		if err != nil || !bytes.Equal(svg, again) {
			t.Errorf("%s: drawn again it is another, %v", c.file, err)
		}
		for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", c.file, err)
			}
		}
		all.Write(svg)
	}
	for _, word := range words {
		if !strings.Contains(all.String(), word) {
			t.Errorf("no chart says %q", word)
		}
	}
}

// TestFiguresComeFromACommit: what is written to the documentation is not measured in a
// checkout with changes.
func TestFiguresComeFromACommit(t *testing.T) {
	script, err := filepath.Abs("../../scripts/need-commit.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("git", "init", "-q"); err != nil {
		t.Fatal(err, out)
	}
	if out, err := run(script); err != nil {
		t.Errorf("nothing was changed: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(script); err == nil || !strings.Contains(out, "?? new") {
		t.Errorf("a file was added: %v\n%s", err, out)
	}
}
