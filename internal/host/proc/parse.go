package proc

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// stat holds the used fields of /proc/PID/stat.
type stat struct {
	state     byte
	startTime uint64 // in clock ticks since the host booted
}

// parseStat reads /proc/PID/stat as proc_pid_stat(5) describes it: the second
// field is the program's name in parentheses, and may itself hold white space
// and parentheses, so the fields are counted from the last ")".
func parseStat(data []byte) (stat, error) {
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return stat{}, fmt.Errorf("no program name in %.40q", data)
	}
	fields := bytes.Fields(data[end+1:]) // the first of these is field 3
	const state, startTime = 0, 22 - 3
	if len(fields) <= startTime || len(fields[state]) != 1 {
		return stat{}, fmt.Errorf("only %d fields in %.40q", len(fields)+2, data)
	}
	ticks, err := strconv.ParseUint(string(fields[startTime]), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("bad start time: %w", err)
	}
	return stat{state: fields[state][0], startTime: ticks}, nil
}

// parseCmdline splits the beginning of /proc/PID/cmdline, and appends its arguments to args.
// The file is empty for a zombie and for a kernel thread. A program may write anything into
// its own command line, and even omit the last NUL. An argument that may have been cut off
// at MaxCmdline is left out.
func parseCmdline(data []byte, args []string) []string {
	if len(data) >= MaxCmdline {
		data = data[:bytes.LastIndexByte(data[:MaxCmdline], 0)+1]
	}
	data = bytes.TrimSuffix(data, []byte{0})
	if len(data) == 0 {
		return args
	}
	for arg := range strings.SplitSeq(string(data), "\x00") {
		args = append(args, arg)
	}
	return args
}
