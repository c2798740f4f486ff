// Command attacker tries attacks, inside the lab host, that banger has to refuse. Each
// of its parts is an untrusted role: a VMM that was taken over, another user of the
// machine, or the owner, who must not become root. The scenarios "attack-…" of package
// lab run it, and check all other VMs before and after.
//
// It prints a line for each attack, and exits with status 1 if one succeeded.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// attack is something that must fail. try returns nil if it succeeded, which is the
// error that this program searches.
type attack struct {
	name string
	try  func() error
}

// parts are the attackers and their attacks. Their arguments are the rest of the
// command line.
var parts = map[string]func(args []string) []attack{
	"vmm":      vmm,
	"stranger": stranger,
	"owner":    owner,
}

// tools are background activities of a part; they do not attack.
var tools = map[string]func(args []string) error{
	"crowd":  crowd,
	"forge":  forge,
	"memory": memory,
	"nuls":   nuls,
	"sleep":  sleep,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "attacker:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("who attacks?")
	}
	if tool, ok := tools[args[0]]; ok {
		return tool(args[1:])
	}
	part, ok := parts[args[0]]
	if !ok {
		return fmt.Errorf("%q is not a valid part", args[0])
	}
	succeeded := 0
	for _, a := range part(args[1:]) {
		if err := a.try(); err != nil {
			fmt.Printf("refused    %s: %s\n", a.name, strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		succeeded++
		fmt.Printf("SUCCEEDED  %s\n", a.name)
	}
	if succeeded > 0 {
		return fmt.Errorf("%d attacks succeeded", succeeded)
	}
	return nil
}

// option returns the value of an argument "NAME=VALUE", or "".
func option(args []string, name string) string {
	i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, name+"=") })
	if i < 0 {
		return ""
	}
	return args[i][len(name)+1:]
}

// numbers returns the value of an argument "NAME=N,N,…".
func numbers(args []string, name string) []int {
	var all []int
	for text := range strings.SplitSeq(option(args, name), ",") {
		if n, err := strconv.Atoi(text); err == nil {
			all = append(all, n)
		}
	}
	return all
}
