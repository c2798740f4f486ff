package script

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"time"
)

// testPort is a program of scripts that forward ports:
//
//	testport echo             listen on a free port, print it, and send back what comes
//	testport echo PATH        the same, on a Unix socket
//	testport echo udp         the same, with datagrams
//	testport say ADDRESS      send standard input, and print the answer
//	testport say ADDRESS/udp  the same, as one datagram
//	testport crowd ADDRESS    say something on 1,000 connections at once, and hold them
func testPort(args []string) int {
	var err error
	switch {
	case len(args) > 0 && args[0] == "echo":
		err = echo(strings.Join(args[1:], ""))
	case len(args) == 2 && args[0] == "say":
		err = say(args[1])
	case len(args) == 2 && args[0] == "crowd":
		err = crowd(args[1])
	default:
		err = fmt.Errorf("bad arguments %q", args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testport:", err)
		return 1
	}
	return 0
}

func echo(where string) error {
	if where == "udp" {
		return echoDatagrams()
	}
	network, address := "tcp", "127.0.0.1:0"
	if where != "" {
		network, address = "unix", where
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	fmt.Println(port)
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
	}
}

func echoDatagrams() error {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(conn.LocalAddr().(*net.UDPAddr).Port)
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo(buf[:n], from); err != nil {
			return err
		}
	}
}

func say(address string) error {
	if at, udp := strings.CutSuffix(address, "/udp"); udp {
		return sayDatagram(at)
	}
	network := "tcp"
	if strings.Contains(address, "/") {
		network = "unix"
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, os.Stdin)
		if err == nil {
			err = conn.(interface{ CloseWrite() error }).CloseWrite()
		}
		sent <- err
	}()
	if _, err := io.Copy(os.Stdout, conn); err != nil {
		return err
	}
	return <-sent
}

// crowd holds its connections until it is killed.
func crowd(address string) error {
	const size = 1000
	spoke := make(chan error, size)
	var all []net.Conn
	for range size {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		all = append(all, conn)
		go func() {
			buf := make([]byte, 5)
			_, err := fmt.Fprint(conn, "hello")
			if err == nil {
				_, err = io.ReadFull(conn, buf)
			}
			if err == nil && string(buf) != "hello" {
				err = fmt.Errorf("%q came back", buf)
			}
			spoke <- err
		}()
	}
	for range size {
		if err := <-spoke; err != nil {
			return err
		}
	}
	fmt.Printf("%d connections spoke\n", len(all))
	time.Sleep(time.Hour) // a bare select{} would be a deadlock to the runtime
	runtime.KeepAlive(all)
	return nil
}

func sayDatagram(address string) error {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if _, err := conn.Write(text); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	n, err := conn.Read(buf)
	_, _ = os.Stdout.Write(buf[:n])
	return err
}
