package roothelper

import (
	"errors"
	"testing"

	"banger/api"
	"banger/internal/host/resolved"
	"banger/internal/rootapi"
)

func TestNames(t *testing.T) {
	w := newFixture(t)
	w.names.state = resolved.State{Link: 7, Problem: "systemd-resolved does not run", Absent: true, Taken: []string{"vm of eth0"}}
	var got rootapi.NamesAnswer
	w.must(rootapi.NamesCall{}, &got)
	if !w.names.there || got.Link != 7 || !got.Absent || got.Problem != w.names.state.Problem || len(got.Taken) != 1 || got.Outer != w.Settings.Outer {
		t.Errorf("%+v", got)
	}
	if files := w.must(rootapi.NamesCall{Sockets: true}, &got); len(files) != 2 {
		t.Errorf("%d sockets", len(files))
	}
	w.must(rootapi.ClearCall{}, nil)
	if w.names.there {
		t.Error("the link is left")
	}
	w.names.fails = api.Errorf(api.KindUnsupported, "no links: %w", errors.ErrUnsupported)
	w.refuses(api.KindUnsupported, rootapi.NamesCall{Sockets: true})
}
