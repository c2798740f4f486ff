package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain is also the server that guests reach in network.txtar.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"testnet": func() {
			if err := serveNet(os.Args[1:]); err != nil {
				fmt.Fprintln(os.Stderr, "testnet:", err)
				os.Exit(1)
			}
		},
	})
}
