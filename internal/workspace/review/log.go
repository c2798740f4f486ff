package review

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Snapshot is a commit of the series of a VM.
type Snapshot struct {
	N       int // from 1
	Commit  string
	Ref     string
	Parents []string
	Author  string
	Subject string // the first line of its message
	Time    time.Time
	Guest   bool // whether it is of the guest's files, as opposed to the host's
	Both    bool // whether a sync made it, of files of both
}

// Log returns the snapshots of a VM, the oldest first. A reference in the series whose last
// component is not a number is not banger's, and left out.
func Log(ctx context.Context, repo Repo, vm string) ([]Snapshot, error) {
	prefix := "refs/banger/" + vm + "/"
	const format = "%(refname)%00%(objectname)%00%(parent)%00%(committerdate:unix)%00%(authorname)%00%(contents:subject)%00"
	out, err := repo.Git(ctx, nil, nil, "for-each-ref", "--format="+format, prefix)
	if err != nil {
		return nil, err
	}
	var all []Snapshot
	fields := strings.Split(string(out), "\x00")
	for ; len(fields) > 6; fields = fields[6:] {
		ref := strings.TrimPrefix(fields[0], "\n")
		n, err := strconv.Atoi(strings.TrimPrefix(ref, prefix))
		if err != nil || fmt.Sprint(prefix, n) != ref {
			continue
		}
		seconds, _ := strconv.ParseInt(fields[3], 10, 64)
		all = append(all, Snapshot{
			N: n, Ref: ref, Commit: fields[1], Parents: strings.Fields(fields[2]), Time: time.Unix(seconds, 0),
			Author: fields[4], Subject: fields[5], Guest: strings.HasPrefix(fields[4], "banger guest of "), Both: fields[4] == "banger sync",
		})
	}
	slices.SortFunc(all, func(a, b Snapshot) int { return a.N - b.N })
	return all, nil
}
