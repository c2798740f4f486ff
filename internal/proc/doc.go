// Package proc knows processes by more than their pid: a pid is used again, so
// a process is held by its pidfd, and named by pid, start time and boot id.
package proc
