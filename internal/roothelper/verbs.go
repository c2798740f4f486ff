package roothelper

import (
	"context"
	"os"

	"banger/internal/rootapi"
)

// handler executes one verb.
type handler func(ctx context.Context, s *Server, r rootapi.Request, files []*os.File) (body any, give []*os.File, err error)

// handlers are all verbs of the helper.
var handlers = map[rootapi.Verb]handler{
	rootapi.Hello: on(func(_ context.Context, s *Server, _ rootapi.HelloCall, _ []*os.File) (any, error) {
		return s.hello(), nil
	}),
	rootapi.DiskAttach: forVM(func(c rootapi.DiskAttachCall) string { return c.ID }, (*Helper).diskAttach),
	rootapi.DiskStatus: forVM(func(c rootapi.DiskStatusCall) string { return c.ID }, (*Helper).diskStatus),
	rootapi.NetAttach:  forVM(func(c rootapi.NetAttachCall) string { return c.ID }, (*Helper).netAttach),
	rootapi.BootPut: on(func(_ context.Context, s *Server, c rootapi.BootPutCall, files []*os.File) (any, error) {
		return s.Helper.bootPut(c, files)
	}),
	rootapi.VMStart: func(ctx context.Context, s *Server, r rootapi.Request, files []*os.File) (any, []*os.File, error) {
		call, err := rootapi.Decode[rootapi.VMStartCall](r, len(files))
		if err != nil {
			return nil, nil, err
		}
		defer s.Helper.locks.lock(call.ID)()
		process, give, err := s.Helper.vmStart(ctx, call, files)
		return process, give, err
	},
	rootapi.VMFind: func(ctx context.Context, s *Server, r rootapi.Request, files []*os.File) (any, []*os.File, error) {
		call, err := rootapi.Decode[rootapi.VMFindCall](r, len(files))
		if err != nil {
			return nil, nil, err
		}
		defer s.Helper.locks.lock(call.ID)()
		return s.Helper.vmFind(ctx, call)
	},
	rootapi.VMKill:    forVM(func(c rootapi.VMKillCall) string { return c.ID }, (*Helper).vmKill),
	rootapi.VMRelease: forVM(func(c rootapi.VMReleaseCall) string { return c.ID }, (*Helper).vmRelease),
	rootapi.VMDial: func(ctx context.Context, s *Server, r rootapi.Request, files []*os.File) (any, []*os.File, error) {
		call, err := rootapi.Decode[rootapi.VMDialCall](r, len(files))
		if err != nil {
			return nil, nil, err
		}
		defer s.Helper.locks.lock(call.ID)()
		return s.Helper.vmDial(ctx, call)
	},
	rootapi.List: on(func(ctx context.Context, s *Server, _ rootapi.ListCall, _ []*os.File) (any, error) {
		return s.Helper.list(ctx)
	}),
	rootapi.Check: on(func(ctx context.Context, s *Server, c rootapi.CheckCall, _ []*os.File) (any, error) {
		return s.Helper.check(ctx, c), nil
	}),
	rootapi.Names: func(ctx context.Context, s *Server, r rootapi.Request, files []*os.File) (any, []*os.File, error) {
		call, err := rootapi.Decode[rootapi.NamesCall](r, len(files))
		if err != nil {
			return nil, nil, err
		}
		return nameVMs(ctx, s.Helper, call)
	},
	rootapi.Clear: on(func(ctx context.Context, s *Server, _ rootapi.ClearCall, _ []*os.File) (any, error) {
		return nil, s.Helper.clear(ctx)
	}),
}

// on returns the handler of a verb that hands out no descriptors and does not concern a
// single VM.
func on[C rootapi.Call](do func(context.Context, *Server, C, []*os.File) (any, error)) handler {
	return func(ctx context.Context, s *Server, r rootapi.Request, files []*os.File) (any, []*os.File, error) {
		call, err := rootapi.Decode[C](r, len(files))
		if err != nil {
			return nil, nil, err
		}
		body, err := do(ctx, s, call, files)
		return body, nil, err
	}
}

// forVM returns the handler of a verb on one VM, which is locked during it.
func forVM[C rootapi.Call](id func(C) string, do func(*Helper, context.Context, C, []*os.File) (any, error)) handler {
	return on(func(ctx context.Context, s *Server, call C, files []*os.File) (any, error) {
		defer s.Helper.locks.lock(id(call))()
		return do(s.Helper, ctx, call, files)
	})
}
