package project

import (
	"slices"
	"strings"
)

// otherNames are what other programs, or config.toml, call a key.
var otherNames = map[string]string{
	"publish": "ports", "forward_ports": "ports", "forwardports": "ports", "port": "ports",
	"file_sync": "files", "mounts": "files", "cpu": "vcpus", "cpus": "vcpus", "ram": "memory",
	"environment": "env", "nat": "network", "workspace": "workdir", "dir": "workdir", "remote_user": "user",
	"run": "setup", "script": "setup", "install": "setup", "postcreatecommand": "setup",
	"from": "host", "source": "host", "to": "guest", "target": "guest",
}

// nearest returns the known key that somebody may have meant, or "".
func nearest(key string, known []string) string {
	key = strings.ToLower(strings.ReplaceAll(key, "-", "_"))
	if other := otherNames[key]; slices.Contains(known, other) {
		return other
	}
	best, least := "", 1+max(1, min(len(key), 12)/3) // a third of its letters may differ
	for _, k := range known {
		if d := distance(key, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters to insert, remove, replace or swap with their neighbour make b of a
// (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			differs := 1
			if a[i-1] == b[j-1] {
				differs = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+differs)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
