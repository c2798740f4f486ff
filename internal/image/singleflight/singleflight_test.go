package singleflight

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"banger/api"
)

func silent(api.Progress) {}

// TestGroup has two ask for the same work; the work ends when both give up.
func TestGroup(t *testing.T) {
	var f Group
	var runs atomic.Int32
	started, ended := make(chan struct{}), make(chan struct{})
	work := func(ctx context.Context, report api.Report) error {
		runs.Add(1)
		report(api.Progress{Step: "image"})
		close(started)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}
	first, stopFirst := context.WithCancel(context.Background())
	second, stopSecond := context.WithCancel(context.Background())
	results := make(chan error, 2)
	go func() { results <- f.Do(first, "k", silent, work) }()
	<-started
	told := make(chan struct{}, 1)
	go func() { results <- f.Do(second, "k", func(api.Progress) { told <- struct{}{} }, work) }()
	<-told // the second has joined, and sees where the work is
	stopFirst()
	if err := <-results; api.KindOf(err) != api.KindCanceled {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
		t.Error("the work ended although one still waits")
	default:
	}
	stopSecond()
	if err := <-results; api.KindOf(err) != api.KindCanceled {
		t.Errorf("got %v", err)
	}
	<-ended
	if runs.Load() != 1 {
		t.Errorf("ran %d times", runs.Load())
	}
	want := errors.New("done")
	if err := f.Do(context.Background(), "k", silent, func(context.Context, api.Report) error { return want }); err != want {
		t.Errorf("afterwards: %v", err)
	}
}
