package systemd

import "syscall"

// Sandbox restricts what a service may do and see: settings of systemd.exec(5) and
// systemd.resource-control(5). systemd 252 accepts all of them in StartTransientUnit.
type Sandbox struct {
	DevicePolicy string // auto, closed or strict
	DeviceAllow  []Device

	NoNewPrivileges       bool
	CapabilityBoundingSet []int // unix.CAP_…; nil: all, empty: none
	// RestrictNamespaces lists the namespaces that the service may make or join, as
	// flags of clone(2); nil: all, empty: none.
	RestrictNamespaces []uint64
	// AddressFamilies lists the allowed families of sockets, such as AF_UNIX; nil: all.
	AddressFamilies []string
	// SystemCalls lists the allowed calls and sets of calls (systemd.exec(5),
	// SystemCallFilter=); nil: all. Other calls fail with EPERM.
	SystemCalls []string

	NativeSystemCalls, LockPersonality, RestrictRealtime, RestrictSUIDSGID bool
	MemoryDenyWriteExecute, ProtectClock, ProtectHostname                  bool
	UMask                                                                  uint32 // 0: systemd's default, 0022
	KeyringMode                                                            string

	NetworkNamespacePath string
	Files                FileView
}

// FileView restricts which files a service sees. Any field makes systemd give the
// service its own mount namespace.
type FileView struct {
	ProtectSystem     string
	ProtectHome       string
	ReadWritePaths    []string
	InaccessiblePaths []string // with "-": if it exists
	// Empty directories are shown empty and read-only (TemporaryFileSystem=PATH:ro).
	Empty []string
	// BindPaths are visible at the same path, even if Empty covers them.
	BindPaths []string

	PrivateMounts, PrivateIPC, ProtectKernelTunables, ProtectKernelModules, ProtectKernelLogs, ProtectControlGroups bool
	ProtectProc, ProcSubset                                                                                         string
}

// allowed is a list of what is allowed, as opposed to denied.
type allowed struct {
	Allow bool
	Names []string
}

// temporary and bind are elements of TemporaryFileSystem and BindPaths.
type (
	temporary struct{ Path, Options string }
	bind      struct {
		Source, Destination string
		IgnoreMissing       bool
		Flags               uint64
	}
)

func (s Sandbox) add(p *list) {
	p.text("NetworkNamespacePath", s.NetworkNamespacePath)
	p.text("DevicePolicy", s.DevicePolicy)
	if len(s.DeviceAllow) > 0 {
		p.add("DeviceAllow", s.DeviceAllow)
	}
	if s.CapabilityBoundingSet != nil {
		var mask uint64
		for _, c := range s.CapabilityBoundingSet {
			mask |= 1 << c
		}
		p.add("CapabilityBoundingSet", mask)
	}
	if s.RestrictNamespaces != nil {
		var mask uint64
		for _, flag := range s.RestrictNamespaces {
			mask |= flag
		}
		p.add("RestrictNamespaces", mask)
	}
	if s.AddressFamilies != nil {
		p.add("RestrictAddressFamilies", allowed{true, s.AddressFamilies})
	}
	if s.SystemCalls != nil {
		p.add("SystemCallFilter", allowed{true, s.SystemCalls})
		p.add("SystemCallErrorNumber", int32(syscall.EPERM))
	}
	if s.NativeSystemCalls {
		p.add("SystemCallArchitectures", []string{"native"})
	}
	if s.UMask != 0 {
		p.add("UMask", s.UMask)
	}
	p.text("KeyringMode", s.KeyringMode)
	p.flags(map[string]bool{
		"NoNewPrivileges": s.NoNewPrivileges, "LockPersonality": s.LockPersonality, "RestrictRealtime": s.RestrictRealtime,
		"RestrictSUIDSGID": s.RestrictSUIDSGID, "MemoryDenyWriteExecute": s.MemoryDenyWriteExecute,
		"ProtectClock": s.ProtectClock, "ProtectHostname": s.ProtectHostname,
	})
	s.Files.add(p)
}

func (f FileView) add(p *list) {
	p.text("ProtectSystem", f.ProtectSystem)
	p.text("ProtectHome", f.ProtectHome)
	p.texts("ReadWritePaths", f.ReadWritePaths)
	p.texts("InaccessiblePaths", f.InaccessiblePaths)
	var empty []temporary
	for _, path := range f.Empty {
		empty = append(empty, temporary{path, "ro"})
	}
	if empty != nil {
		p.add("TemporaryFileSystem", empty)
	}
	var binds []bind
	for _, path := range f.BindPaths {
		binds = append(binds, bind{Source: path, Destination: path})
	}
	if binds != nil {
		p.add("BindPaths", binds)
	}
	p.flags(map[string]bool{
		"PrivateMounts": f.PrivateMounts, "PrivateIPC": f.PrivateIPC, "ProtectKernelTunables": f.ProtectKernelTunables, "ProtectKernelModules": f.ProtectKernelModules,
		"ProtectKernelLogs": f.ProtectKernelLogs, "ProtectControlGroups": f.ProtectControlGroups,
	})
	p.text("ProtectProc", f.ProtectProc)
	p.text("ProcSubset", f.ProcSubset)
}
