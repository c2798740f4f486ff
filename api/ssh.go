package api

// SSHAccess is what the owner of a running VM needs to connect to it by SSH.
type SSHAccess struct {
	Name string `json:"name"` // of the VM
	// HostKey is the seed of the VM's private ed25519 key (RFC 8032, section 5.1.5);
	// the agent in the guest gets it for the session.
	HostKey []byte `json:"host_key"`
	// KnownHosts is that key's line of known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE
	// FORMAT), for NAME.banger and ID.banger.
	KnownHosts string `json:"known_hosts"`
}
