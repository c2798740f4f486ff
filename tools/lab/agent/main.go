// Command agent is the lab host's side of tools/lab. It runs only in the lab: it serves
// commands from outside, and is the lab's "internet".
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	jobs := map[string]func(context.Context) error{"serve": serve, "links": links, "internet": internet}
	if len(os.Args) != 2 || jobs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: lab-agent serve|links|internet")
		os.Exit(2)
	}
	if err := jobs[os.Args[1]](ctx); err != nil {
		fmt.Fprintln(os.Stderr, "lab-agent:", err)
		os.Exit(1)
	}
}
