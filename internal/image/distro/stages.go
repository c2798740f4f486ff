package distro

import (
	"regexp"
	"strconv"
	"strings"

	"banger/api"
	"banger/internal/image/rootfs"
)

// The share of a build's time, in percent, at which each stage begins (measured
// as root and as an ordinary user, on a busy machine).
const (
	percentPack = 87
	percentHash = 96
)

var stageTable = []struct {
	line, message string
	from, to      int
}{
	{"I: running apt-get update", "fetching package lists", 0, 10},
	{"I: downloading packages", "downloading packages", 10, 13},
	{"I: extracting archives", "extracting packages", 13, 20},
	{"I: installing essential packages", "installing the essential packages", 20, 46},
	{"I: installing remaining packages", "installing the other packages", 46, 85},
	{"I: cleaning package lists", "cleaning up", 85, percentPack},
}

var newlyInstalled = regexp.MustCompile(`, (\d{1,6}) newly installed`)

// stages turns what mmdebstrap prints into progress.
type stages struct {
	emit        func(any)
	current     int // index in stageTable
	total       int // packages to install in this stage; 0 if unknown
	done        int // half packages: each is unpacked, then set up
	lastPercent int // percent last reported
}

func (s *stages) line(line string) {
	for i, stage := range stageTable {
		if strings.HasPrefix(line, stage.line) {
			s.current, s.total, s.done = i, 0, 0
			s.report(true)
			return
		}
	}
	if m := newlyInstalled.FindStringSubmatch(line); m != nil {
		s.total, _ = strconv.Atoi(m[1])
		return
	}
	if strings.HasPrefix(line, "Unpacking ") || strings.HasPrefix(line, "Setting up ") {
		s.done++
		s.report(false)
	}
}

// report reports the build's progress, at every new stage and every new percent.
func (s *stages) report(always bool) {
	stage := stageTable[s.current]
	percent := stage.from
	if s.total > 0 {
		percent += (stage.to - stage.from) * min(s.done, 2*s.total) / (2 * s.total)
	}
	if percent > s.lastPercent || always {
		s.lastPercent = max(percent, s.lastPercent)
		s.emit(rootfs.Event{Progress: &api.Progress{Step: "image", Message: stage.message, Done: int64(s.lastPercent), Total: 100, Unit: "percent"}})
	}
}

// ScaleProgress converts the progress of a build's last steps, which report for
// themselves, to the build's scale.
func ScaleProgress(report api.Report) api.Report {
	return func(p api.Progress) {
		if p.Unit != "percent" {
			at := int64(percentPack)
			if p.Unit == "bytes" && p.Total > 0 {
				at = percentHash + (100-percentHash)*p.Done/p.Total
			}
			p.Done, p.Total, p.Unit = at, 100, "percent"
		}
		report(p)
	}
}
