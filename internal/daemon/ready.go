package daemon

import (
	"encoding/json"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"banger/api"
)

// readiness reports to the starter, once.
type readiness struct{ file *os.File }

// takeReadiness removes the descriptor from the environment, so that no child of this process keeps
// the starter waiting.
func takeReadiness() *readiness {
	text := os.Getenv(api.ReadyEnv)
	os.Unsetenv(api.ReadyEnv)
	fd, err := strconv.Atoi(text)
	if err != nil || fd <= 2 {
		return &readiness{}
	}
	unix.CloseOnExec(fd)
	return &readiness{file: os.NewFile(uintptr(fd), api.ReadyEnv)}
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
