package forward

import (
	"context"
	"testing"
	"time"
)

// TestCrowd: who comes when all places are taken is refused, unless one has been silent
// for long: the one that has been for longest makes way.
func TestCrowd(t *testing.T) {
	c := NewCrowd(3)
	c.Silent = time.Hour
	var ended []int
	enter := func(i int) *Place { return c.Enter(func() { ended = append(ended, i) }) }
	first, second, third := enter(1), enter(2), enter(3)
	if first == nil || second == nil || third == nil {
		t.Fatal("there is room for three")
	}
	if enter(4) != nil || len(ended) > 0 {
		t.Fatalf("a fourth has a place, or somebody lost one: %v", ended)
	}
	silence := func(p *Place, d time.Duration) { p.used.Store(time.Now().Add(-d).UnixNano()) }
	silence(first, 2*time.Hour)
	silence(second, 3*time.Hour)
	fourth := enter(4)
	if fourth == nil || len(ended) != 1 || ended[0] != 2 {
		t.Fatalf("who made way: %v", ended)
	}
	second.Leave() // its place is another's already
	first.Use()
	if enter(5) != nil {
		t.Fatal("one that has just carried something made way")
	}
	fourth.Leave()
	if enter(5) == nil || len(ended) != 1 {
		t.Fatalf("a place that was given back is not free: %v", ended)
	}
	var none *Place
	none.Use()
	none.Leave()
}

func TestCrowdWaits(t *testing.T) {
	c := NewCrowd(1)
	p := c.Enter(func() {})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if c.Wait(ctx, func() {}) != nil {
		t.Fatal("a second has a place")
	}
	got := make(chan *Place)
	go func() { got <- c.Wait(t.Context(), func() {}) }()
	select {
	case <-got:
		t.Fatal("a second has a place")
	case <-time.After(50 * time.Millisecond):
	}
	p.Leave()
	select {
	case p := <-got:
		p.Leave()
	case <-time.After(10 * time.Second):
		t.Fatal("who waits is not told of a free place")
	}
}
