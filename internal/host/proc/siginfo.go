package proc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func exitCode(info *unix.Siginfo) int {
	base := unsafe.Pointer(info)
	code := *(*int32)(unsafe.Add(base, siginfoCode))
	status := *(*int32)(unsafe.Add(base, siginfoStatus))
	if code == cldExited {
		return int(status)
	}
	return 128 + int(status)
}
