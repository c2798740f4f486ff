package imagebuild

import (
	"bytes"
	"regexp"
	"strconv"

	"banger/api"
)

// Bounds of what is kept of the output of a build, in bytes: its end, for the case that it fails, and a
// line, which is shown as progress.
const (
	maxTail = 16 << 10
	maxLine = 512
)

// output receives what a build writes, whatever that is and however much.
type output struct {
	report api.Report
	tail   []byte // the last of it, at most twice maxTail
	line   []byte // the beginning of the newest line
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.keep(p)
	for rest := p; len(rest) > 0; {
		line, after, complete := bytes.Cut(rest, []byte("\n"))
		o.line = append(o.line, line[:min(len(line), maxLine-len(o.line))]...)
		rest = after
		if complete {
			o.lineEnds()
		}
	}
	return len(p), nil
}

func (o *output) keep(p []byte) {
	if len(p) > maxTail {
		p = p[len(p)-maxTail:]
	}
	if len(o.tail)+len(p) > 2*maxTail {
		o.tail = append(o.tail[:0], o.tail[len(o.tail)-maxTail:]...)
	}
	o.tail = append(o.tail, p...)
}

// step is how buildah announces an instruction, such as "STEP 2/5: RUN make", or in a Dockerfile of
// several stages "[1/2] STEP 2/5: RUN make". What a RUN prints may look the same: it is shown, and nothing
// depends on it.
var step = regexp.MustCompile(`^(?:\[[0-9]{1,6}/[0-9]{1,6}\] )?STEP ([0-9]{1,6})/([0-9]{1,6}): (.*)`)

func (o *output) lineEnds() {
	if m := step.FindSubmatch(o.line); m != nil {
		done, _ := strconv.Atoi(string(m[1]))
		total, _ := strconv.Atoi(string(m[2]))
		o.report(api.Progress{Step: "build", Message: "building the image: " + string(m[3]), Done: int64(done), Total: int64(total)})
	}
	o.line = o.line[:0]
}

// last returns the end of the output, from the beginning of a line.
func (o *output) last() []byte {
	tail := o.tail
	if len(tail) > maxTail {
		tail = tail[len(tail)-maxTail:]
		if _, after, found := bytes.Cut(tail, []byte("\n")); found {
			tail = after
		}
	}
	return tail
}
