// Command echoserver is a server that tests run in a guest: whoever connects to its TCP port gets
// back what they send. It needs nothing of the image.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "echoserver:", serve(os.Args[1:]))
	os.Exit(1)
}

// serve returns only if it cannot serve.
func serve(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: echoserver PORT")
	}
	l, err := net.Listen("tcp", net.JoinHostPort("", args[0]))
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn) // whoever leaves ends it
		}()
	}
}
