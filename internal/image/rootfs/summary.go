package rootfs

import (
	"fmt"

	"banger/api"
)

// Summary is the result of unpacking.
type Summary struct {
	Entries int     `json:"entries"`
	Bytes   int64   `json:"bytes"`
	Devices int     `json:"devices"`  // left out: invalid, or too many without root
	Owners  int     `json:"owners"`   // given to root, for the same reasons
	Attrs   int     `json:"attrs"`    // extended attributes left out
	NoShell bool    `json:"no_shell"` // /bin/sh is missing
	Layers  []int64 `json:"layers"`   // bytes of each archive before compression
	IsImage bool    `json:"is_image"` // the archive is an image: nothing was unpacked
}

// Warn reports what could not be unpacked unchanged.
func (s Summary) Warn(report api.Report) {
	tell := func(n int, what string) {
		if n > 0 {
			report(api.Progress{Step: api.StepNote, Message: fmt.Sprintf(what, n)})
		}
	}
	tell(s.Devices, "device nodes left out of the image: %d, whose numbers are out of range, or which are too many without root")
	tell(s.Owners, "files of the image given to root: %d, whose owners are out of range, or too many beyond your subordinate ids")
	tell(s.Attrs, "extended attributes left out of the image: %d, which cannot be set here")
}
