package daemon

import (
	"net"
	"net/http"
	"strings"
	"time"

	"banger/api"
	"banger/internal/daemon/relay"
	"banger/internal/guest"
	"banger/internal/imageconfig"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + api.StreamProtocol + "\r\n"

// guestHandlers answer requests that reach into a guest, or show its output.
type guestHandlers struct {
	*core
	places *relay.Places
}

func (h guestHandlers) stream(w http.ResponseWriter, r *http.Request) error {
	if !strings.EqualFold(r.Header.Get("Upgrade"), api.StreamProtocol) {
		return api.Errorf(api.KindInvalid, "cannot open stream: the request has no \"Upgrade: %s\"", api.StreamProtocol)
	}
	ctx, cancel := h.untilStop(r.Context())
	defer cancel()
	connection := r.Header.Get(api.CarriesHeader) == api.CarriesConnection
	if err := h.places.Enter(connection); err != nil {
		return err
	}
	defer h.places.Leave(connection)
	if connection {
		ctx = guest.ForConnection(ctx)
	}
	if r.Header.Get(api.WakeHeader) == api.Wake {
		ctx = guest.Waking(ctx)
	}
	vm, err := h.svc.VMs.Find(r.PathValue("vm"))
	if err != nil {
		return err
	}
	giveBack, err := h.lease(vm.ID)
	if err != nil {
		return err
	}
	defer giveBack()
	channel, err := h.svc.Guests.DialGuest(ctx, vm.ID)
	if err != nil {
		return err
	}
	client, early, err := h.hijack(w, answerTo(vm))
	if err != nil {
		channel.Close()
		return err
	}
	defer h.streams.Done()
	relay.Run(h.cut, client, early, channel, h.rest.Use)
	return nil
}

// answerTo returns the answer that opens a stream: it identifies the VM, and contains the image's
// configuration for commands.
func answerTo(vm api.VM) string {
	answer := switching + api.VMIDHeader + ": " + vm.ID + "\r\n" + api.VMNameHeader + ": " + vm.Name + "\r\n"
	if value := imageconfig.FormatHeader(vm.ImageConfig); value != "" {
		answer += imageconfig.Header + ": " + value + "\r\n"
	}
	return answer + "\r\n"
}

// hijack takes the connection from the HTTP server, which then neither bounds it in time nor ends it:
// Server.Shutdown waits for h.streams. early are the bytes that the client sent right after its request.
func (h guestHandlers) hijack(w http.ResponseWriter, answer string) (*net.UnixConn, []byte, error) {
	h.streams.Add(1)
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.streams.Done()
		return nil, nil, err
	}
	if taken, ok := w.(*writer); ok {
		taken.taken = true
	}
	client, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		h.streams.Done()
		return nil, nil, api.Errorf(api.KindInternal, "cannot open stream: not a Unix socket")
	}
	early, _ := buf.Reader.Peek(buf.Reader.Buffered())
	early = append([]byte(nil), early...)
	_ = client.SetDeadline(time.Time{})
	if _, err := client.Write([]byte(answer)); err != nil {
		client.Close()
		h.streams.Done()
		return nil, nil, err
	}
	return client, early, nil
}
