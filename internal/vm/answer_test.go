package vm

import (
	"context"
	"errors"
	"slices"
	"testing"

	"banger/api"
	"banger/internal/op"
)

// unrecorded is a store that cannot record an answer.
type unrecorded struct{ Store }

func (unrecorded) AnswerVM(context.Context, api.VM, string, []byte) error { return errors.New("EIO") }

// TestAnswersAreRecordedWithTheChange: of a rename and a change of ports both are on record,
// the change and what its client is told, or neither; and ports are served as recorded.
func TestAnswersAreRecordedWithTheChange(t *testing.T) {
	w := newWorld(t)
	served := &fakePorts{served: map[string][]api.PublishedPort{}}
	w.ports.Server = served
	w.must(w.Create(t.Context(), api.CreateVM{Name: "dev", Start: true}))
	id := w.show("dev").ID
	for key, do := range map[string]func(ctx context.Context) (api.VM, error){
		"of-a-rename":  func(ctx context.Context) (api.VM, error) { return w.Rename(ctx, id, "renamed") },
		"of-a-publish": func(ctx context.Context) (api.VM, error) { return w.Publish(ctx, id, api.PublishVM{Add: published}) },
	} {
		t.Run(key, func(t *testing.T) {
			a := &op.Answer{Request: key, Of: func(v any) ([]byte, error) { return []byte(v.(api.VM).Name), nil }}
			ctx := op.WithAnswer(t.Context(), a)
			before := w.show(id)
			w.setStore(unrecorded{w.store})
			_, err := do(ctx)
			w.setStore(w.store)
			if now := w.show(id); err == nil || a.Kept || now.Name != before.Name || !slices.Equal(now.Publish, before.Publish) {
				t.Errorf("it could not be recorded: %v, and is %+v", err, now)
			}
			if !slices.Equal(served.serves(id), before.Publish) {
				t.Errorf("served: %v", served.serves(id))
			}
			told, err := do(ctx)
			answer, asked := w.store.Answer(t.Context(), key)
			if err != nil || asked != nil || !a.Kept || string(answer) != told.Name || told.PID == 0 {
				t.Errorf("%+v, %v, kept %t: %q, %v", told, err, a.Kept, answer, asked)
			}
		})
	}
}
