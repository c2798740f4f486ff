// Command vmm stands for a VMM in tests: it runs in a chroot under any name,
// serves the sockets that it is told of, and ends with the test that holds its
// standard input.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

func main() {
	fmt.Println("hello, console")
	for _, arg := range os.Args[1:] {
		if path, ok := strings.CutPrefix(arg, "serve="); ok {
			l, err := net.Listen("unix", path)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			go serve(l)
		}
		switch arg {
		case "end":
			os.Exit(3)
		case "pause":
			time.Sleep(200 * time.Millisecond)
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// serve sends back what it reads.
func serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}()
	}
}
