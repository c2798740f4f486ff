package daemon

import (
	"encoding/json"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"banger/api"
)

// ReadyFD is the environment variable that holds the number of a descriptor on which whoever started
// the daemon waits for "ready\n", or for one line of JSON, an api.Error, that says why the daemon did
// not start.
const ReadyFD = "BANGER_READY_FD"

// readiness reports to the starter, once.
type readiness struct{ file *os.File }

// takeReadiness removes the descriptor from the environment, so that no child of this process keeps
// the starter waiting.
func takeReadiness() *readiness {
	text := os.Getenv(ReadyFD)
	os.Unsetenv(ReadyFD)
	fd, err := strconv.Atoi(text)
	if err != nil || fd <= 2 {
		return &readiness{}
	}
	unix.CloseOnExec(fd)
	return &readiness{file: os.NewFile(uintptr(fd), ReadyFD)}
}

// tell reports that the daemon is ready, or err. A starter that is gone does not matter.
func (r *readiness) tell(err error) {
	if r.file == nil {
		return
	}
	line := []byte("ready")
	if err != nil {
		line, _ = json.Marshal(api.AsError(err))
	}
	_, _ = r.file.Write(append(line, '\n'))
	r.file.Close()
	r.file = nil
}
