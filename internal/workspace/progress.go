package workspace

import (
	"banger/api"
	"banger/internal/workspace/gitrepo"
)

// progress reports how much of the files has been sent.
type progress struct {
	report       api.Report
	total, bytes int64
}

func newProgress(report api.Report, files []gitrepo.File) *progress {
	p := &progress{report: report}
	for _, f := range files {
		p.total += f.Size
	}
	return p
}

// file counts a file that was sent.
func (p *progress) file(_ string, bytes int64) {
	p.bytes += bytes
	if p.report != nil {
		p.report(api.Progress{Step: "ship", Message: "sending the files", Done: min(p.bytes, p.total), Total: p.total, Unit: "bytes"})
	}
}
