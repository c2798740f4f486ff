package apt

import (
	"bufio"
	"io"
	"strconv"
	"strings"

	"banger/api"
)

// progress turns what apt writes to its status descriptor into reports.
type progress struct {
	report  api.Report
	step    string
	message string
	total   int64 // bytes; 0: percent is all that is known
}

// follow reads status lines until r ends.
func (p *progress) follow(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		percent, ok := parseStatus(lines.Text())
		if !ok || p.report == nil {
			continue
		}
		at := api.Progress{Step: p.step, Message: p.message, Done: int64(percent), Total: 100, Unit: "percent"}
		if p.total > 0 {
			at.Done, at.Total, at.Unit = int64(percent/100*float64(p.total)), p.total, "bytes"
		}
		p.report(at)
	}
	// A line that is too long ends the scanner; apt must not block on us.
	_, _ = io.Copy(io.Discard, r)
}

// parseStatus returns the percentage of a line such as
// "dlstatus:1:12.3450:Retrieving file 1 of 2" (apt's README.progress-reporting).
func parseStatus(line string) (float64, bool) {
	part := strings.SplitN(line, ":", 4)
	if len(part) < 3 || part[0] != "dlstatus" {
		return 0, false
	}
	percent, err := strconv.ParseFloat(part[2], 64)
	if err != nil || !(percent >= 0 && percent <= 100) {
		return 0, false
	}
	return percent, true
}
