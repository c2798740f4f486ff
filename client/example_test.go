package client_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"sync"

	"banger/api"
	"banger/client"
)

// The examples talk to a daemon made of a few routes. Yours listens on the socket that
// `banger daemon status` prints.
func Example() {
	socket, stop := startDaemon()
	defer stop()
	ctx := context.Background()

	c := client.New(socket)
	vm, err := c.VMs().Show(ctx, "dev")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(vm.Name, vm.State, vm.Image)
	// Output: dev running debian
}

func ExampleVMs_List() {
	socket, stop := startDaemon()
	defer stop()
	ctx := context.Background()

	vms, err := client.New(socket).VMs().List(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, vm := range vms {
		fmt.Printf("%s: %s, %d vCPUs, %d MiB\n", vm.Name, vm.State, vm.VCPUs, vm.MemoryBytes>>20)
	}
	// Output:
	// dev: running, 2 vCPUs, 1024 MiB
	// web: stopped, 1 vCPUs, 512 MiB
}

// Create a VM, start it, and show the progress. If ctx ends meanwhile, the daemon undoes
// what it has done.
func ExampleVMs_Create() {
	socket, stop := startDaemon()
	defer stop()
	ctx := context.Background()

	req := api.CreateVM{Name: "new", Image: "alpine:3.20", VCPUs: 2, MemoryBytes: 1 << 30, Start: true}
	vm, err := client.New(socket).VMs().Create(ctx, req, func(p api.Progress) {
		fmt.Printf("%s: %d of %d %s\n", p.Message, p.Done, p.Total, p.Unit)
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(vm.Name, vm.State)
	// Output:
	// getting alpine:3.20: 1 of 2 bytes
	// getting alpine:3.20: 2 of 2 bytes
	// new running
}

// Errors are of package api: they have a kind for programs, and a hint for people.
func ExampleVMs_Show_notFound() {
	socket, stop := startDaemon()
	defer stop()

	_, err := client.New(socket).VMs().Show(context.Background(), "nobody")
	fmt.Println(api.KindOf(err) == api.KindNotFound)
	fmt.Println(err)
	fmt.Println("try:", api.AsError(err).Hint)
	// Output:
	// true
	// no VM named "nobody"
	// try: banger vm list
}

// Run a command in a guest, with input, output, error, and its exit status.
func ExampleGuest_Exec() {
	socket, stop := startDaemon()
	defer stop()
	ctx := context.Background()

	s, err := client.New(socket).Guest("dev").Exec(ctx, api.Exec{Argv: []string{"sh", "-c", "tr a-z A-Z; exit 3"}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	var streams sync.WaitGroup
	streams.Go(func() { _, _ = io.Copy(os.Stdout, s.Stdout) }) // Wait returns what goes wrong
	streams.Go(func() { _, _ = io.Copy(os.Stderr, s.Stderr) })
	fmt.Fprintln(s.Stdin, "hello")
	s.Stdin.Close()
	streams.Wait()
	exit, err := s.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("status", exit.Code)
	// Output:
	// HELLO
	// status 3
}

// Copy a file into a guest.
func ExampleGuest_CopyIn() {
	socket, stop := startDaemon()
	defer stop()
	ctx := context.Background()

	f, err := os.CreateTemp("", "notes")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString("buy milk\n"); err != nil || f.Close() != nil {
		log.Fatal(err)
	}
	g := client.New(socket).Guest("dev")
	if err := g.CopyIn(ctx, f.Name(), "/notes", client.CopyOptions{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("copied into", g.Name())
	// Output: copied into dev
}
