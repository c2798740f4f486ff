package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
)

// natives are the benchmarks of the parts of a start in system mode, except those that
// need systemd, device-mapper or KVM.
var natives = []struct {
	name, pkg, text string
	times           int // per create and start
}{
	{"BenchmarkRoundTrip", "./internal/rootapi", "a request to the root helper, a connection each", 8},
	{"BenchmarkAttach/ready", "./internal/host/network/netns", "network from the pool: link, addresses, route, name", 1},
	{"BenchmarkAttachPlain", "./internal/host/blockdev", "a loop device attached", 2},
	{"BenchmarkJail", "./internal/roothelper", "jail: directories, links, configuration, socket, removal of the last", 1},
	{"BenchmarkDigestOf", "./internal/driver/jailed", "cached digest of a boot file", 2},
	{"BenchmarkAttach/empty", "./internal/host/network/netns", "network when the pool is empty", 0},
}

var benchLine = regexp.MustCompile(`(?m)^(Benchmark\S*?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

// native runs the benchmarks and returns microseconds.
func native(ctx context.Context, root string) (map[string][]float64, error) {
	all := map[string][]float64{}
	var done []string
	for _, n := range natives {
		if slices.Contains(done, n.pkg) {
			continue
		}
		done = append(done, n.pkg)
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchtime", "50x", "-count", "7", n.pkg)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("go test -bench %s: %w: %s", n.pkg, err, out)
		}
		for _, m := range benchLine.FindAllSubmatch(out, -1) {
			ns, err := strconv.ParseFloat(string(m[2]), 64)
			if err != nil {
				return nil, err
			}
			all[string(m[1])] = append(all[string(m[1])], ns/1000)
		}
	}
	return all, nil
}
