package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

// serveNet answers on loopback, in a network namespace of its own, and runs a
// command meanwhile: names by DNS, and "hello" by TCP.
func serveNet(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: testnet COMMAND [ARGUMENT...]")
	}
	names, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		return err
	}
	defer names.Close()
	hello, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		return err
	}
	defer hello.Close()
	go answerNames(names)
	go answerHello(hello)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

func answerHello(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
		conn.Close()
	}
}

func answerNames(c net.PacketConn) {
	buf := make([]byte, 512)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := answerName(buf[:n]); answer != nil {
			_, _ = c.WriteTo(answer, from) // a lost answer is asked for again
		}
	}
}

// answerName makes every name that ends in "test" the host as the guest sees it
// (RFC 1035, section 4.1); others do not exist.
func answerName(query []byte) []byte {
	const header, noSuchName = 12, 3
	end := header
	var labels []string
	for end < len(query) && query[end] != 0 {
		size := int(query[end])
		if end+1+size > len(query) {
			return nil
		}
		labels = append(labels, string(query[end+1:end+1+size]))
		end += 1 + size
	}
	if end+5 > len(query) || len(labels) == 0 {
		return nil
	}
	kind := binary.BigEndian.Uint16(query[end+1:])
	question := query[header : end+5]
	answer := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
	switch known := strings.EqualFold(labels[len(labels)-1], "test"); {
	case !known:
		answer[3] |= noSuchName
	case kind == 1: // an address
		answer[7] = 1
		answer = append(answer, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 2, 2)
	}
	return answer
}
