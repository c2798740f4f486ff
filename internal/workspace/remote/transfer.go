package remote

import (
	"regexp"
	"strconv"
	"strings"

	"banger/api"
)

// transferring matches what git says while it receives: a title, a share, and how many of how many
// (display in git's progress.c).
var transferring = regexp.MustCompile(`^(Receiving objects|Resolving deltas): +\d+% \((\d+)/(\d+)\)`)

// chatter matches the other lines of a git that is not quiet, which say nothing about a failure.
var chatter = regexp.MustCompile(`^(Cloning into |From |POST git-|Unpacking objects: | \* |remote: (Enumerating|Counting|Compressing) objects: |remote: Total )`)

// skip reports a line of git's that says how far a transfer is. It returns true if errors do not quote the line.
func (r Remote) skip(line string) bool {
	if r.Report == nil {
		return false
	}
	m := transferring.FindStringSubmatch(line)
	if m == nil {
		return chatter.MatchString(line)
	}
	done, _ := strconv.ParseInt(m[2], 10, 64)
	total, _ := strconv.ParseInt(m[3], 10, 64)
	r.Report(api.Progress{Step: "transfer", Message: strings.ToLower(m[1]), Done: done, Total: total})
	return true
}
