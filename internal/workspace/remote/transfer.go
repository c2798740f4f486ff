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

// chatter begins the other lines of a git that is not quiet: they are no part of an error.
var chatter = regexp.MustCompile(`^(Cloning into |From |POST git-|Unpacking objects: | \* |remote: (Enumerating|Counting|Compressing) objects: |remote: Total )`)

// heard reports a line of git's if it says how far a transfer is, and returns whether it is no part of an error.
func (r Remote) heard(line string) bool {
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
