package session

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// echoCommand serves connections that get back what they send. Without a PATH it
// listens at a TCP port of the loopback interface, and the variable NAME has its
// number; with one at a Unix socket. It ends with the script.
func echoCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 1 || len(args) == 2), "echoserver NAME [PATH]")
	network, address := "tcp", "127.0.0.1:0"
	if len(args) == 2 {
		network, address = "unix", ts.MkAbs(args[1])
	}
	l, err := net.Listen(network, address)
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], address)
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		ts.Setenv(args[0], fmt.Sprint(a.Port))
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // a client that leaves ends it
			}()
		}
	}()
}

// talkCommand sends a file to a TCP port of the loopback interface, or a Unix
// socket, and leaves what comes back in stdout. It waits for somebody to listen.
func talkCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "talk PORT|PATH FILE")
	network, address := "tcp", "127.0.0.1:"+args[0]
	if strings.Contains(args[0], "/") {
		network, address = "unix", args[0]
	}
	var conn net.Conn
	ts.Check(eventually(func() (err error) {
		conn, err = net.Dial(network, address)
		return err
	}))
	defer conn.Close()
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	go func() {
		_, _ = io.WriteString(conn, ts.ReadFile(args[1])) // what comes back says how far it got
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	back, err := io.ReadAll(conn)
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), string(back))
}
