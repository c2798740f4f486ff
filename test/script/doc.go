// Package script holds test sessions of the real banger and bangerd over fake
// machines: a machine is a process of this host that speaks the guest agent's
// protocol, so that everything but the guest is as users have it, and a session
// takes a second.
package script
