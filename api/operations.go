package api

import "time"

// KeyHeader carries a key that a client makes for a request that changes something. Requests with the
// same key are executed once: a client that lost the answer and repeats the request gets the first
// answer.
const KeyHeader = "Idempotency-Key"

// OpStatus is the status of an operation.
type OpStatus string

// The statuses of an operation.
const (
	OpRunning OpStatus = "running"
	OpDone    OpStatus = "done"
	OpFailed  OpStatus = "failed" // and undone
)

// Operation is one piece of long work: a list of steps, each with its undo, recorded
// before the host is touched.
type Operation struct {
	ID         string     `json:"id"`
	Kind       string     `json:"kind"`           // such as vm.create
	Target     string     `json:"target"`         // id or name of the object it works on
	Step       string     `json:"step,omitempty"` // the current step, or the one in which it ended
	Status     OpStatus   `json:"status"`
	Error      *Error     `json:"error,omitempty"`
	StartedAt  time.Time  `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	// Params are its parameters as JSON, such as a StopVM, if its kind has any.
	Params string `json:"params,omitempty"`
	// Deadline is when it ends by force what has not ended until then.
	Deadline *time.Time `json:"deadline,omitempty"`
	// Request is the Idempotency-Key that its client sent, if any.
	Request string `json:"request,omitempty"`
}

// OperationList answers GET /v1/operations, newest first.
type OperationList struct {
	Operations []Operation `json:"operations"`
}

// Progress is one report of the progress of some work.
type Progress struct {
	Step    string `json:"step"`              // short and stable: kernel, image, disk, boot …
	Message string `json:"message,omitempty"` // for people: "downloading linux-image-…"
	Done    int64  `json:"done,omitempty"`
	Total   int64  `json:"total,omitempty"` // 0 if unknown
	Unit    string `json:"unit,omitempty"`  // bytes, percent or empty for a count
}

// StepNote is the Step of a Progress whose message a client leaves on the screen: the user
// has to know it after the work, too.
const StepNote = "note"

// StepSpec is the Step of a Progress whose message says what a new VM is like: its name, image,
// processors, memory, disk and driver.
const StepSpec = "spec"

// Report receives progress. It must not block for long and must be safe for concurrent use.
type Report func(Progress)

// Event is one line of an operation's event stream (newline-delimited JSON).
// The first one carries Operation alone; the last one carries Operation with its final
// status and, if it made or changed something, the Result.
type Event struct {
	Operation *Operation `json:"operation,omitempty"`
	Progress  *Progress  `json:"progress,omitempty"`
	Result    *Result    `json:"result,omitempty"`
}

// Result is what an operation made or changed; one field is set.
type Result struct {
	VM       *VM       `json:"vm,omitempty"`
	Image    *Image    `json:"image,omitempty"`
	Kernel   *Kernel   `json:"kernel,omitempty"`
	Pruned   *Pruned   `json:"pruned,omitempty"`
	Snapshot *Snapshot `json:"snapshot,omitempty"`
}
