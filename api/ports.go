package api

import (
	"net"
	"strconv"
)

// PublishedPort is a port of the host that is forwarded to a port in the guest while the VM
// runs.
type PublishedPort struct {
	Address   string `json:"address"`   // an IP address of the host
	HostPort  int    `json:"host_port"` // 0: a free one is chosen at the VM's first start
	GuestPort int    `json:"guest_port"`
	Protocol  string `json:"protocol"` // tcp or udp
}

// String returns the port as users write it: ADDRESS:PORT:PORT, and /udp.
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
	UID      int    `json:"uid"`           // of the user who opened it
	PID      int    `json:"pid,omitempty"` // of a process that has it open
	Process  string `json:"process,omitempty"`
}

// Ports are the listening ports in a guest and the published ports.
type Ports struct {
	Published []PublishedPort `json:"published"`
	Listening []ListeningPort `json:"listening"`
}
