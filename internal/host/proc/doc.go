// Package proc identifies processes by more than their pid, because pids are reused: a
// process is held by its pidfd, and identified by pid, start time and boot id.
package proc
