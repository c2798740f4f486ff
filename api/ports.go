package api

import (
	"net"
	"strconv"
)

// PublishedPort is a port of the host that leads to one in the guest, for as long
// as the VM runs.
type PublishedPort struct {
	Address   string `json:"address"`   // an IP address of the host
	HostPort  int    `json:"host_port"` // 0: a free one is chosen at the VM's start, and kept
	GuestPort int    `json:"guest_port"`
	Protocol  string `json:"protocol"` // tcp or udp
}

// String is the port as people write it: ADDRESS:PORT:PORT, and /udp.
func (p PublishedPort) String() string {
	text := net.JoinHostPort(p.Address, strconv.Itoa(p.HostPort)) + ":" + strconv.Itoa(p.GuestPort)
	if p.Protocol != "tcp" {
		text += "/" + p.Protocol
	}
	return text
}

// PublishVM changes which ports of a VM are published.
type PublishVM struct {
	Add    []PublishedPort `json:"add,omitempty"`
	Remove []PublishedPort `json:"remove,omitempty"` // as the VM has them
}

// ListeningPort is a port in a guest on which a program listens.
type ListeningPort struct {
	Protocol string `json:"protocol"` // tcp or udp
	Address  string `json:"address"`
	Port     int    `json:"port"`
	UID      int    `json:"uid"`           // of whoever opened it
	PID      int    `json:"pid,omitempty"` // of a process that has it open
	Process  string `json:"process,omitempty"`
}

// Ports is what listens in a guest, and what of it is published.
type Ports struct {
	Published []PublishedPort `json:"published"`
	Listening []ListeningPort `json:"listening"`
}
