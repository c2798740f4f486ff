package chunk

import "testing"

func TestChunks(t *testing.T) {
	for _, n := range []int{0, 1, small, small + 1, 32 << 10, Size, Size + 1} {
		b := Get(n)
		if len(b) != n {
			t.Errorf("%d bytes, want %d", len(b), n)
		}
		Put(b)
	}
	if got := testing.AllocsPerRun(100, func() { Put(Get(Size)) }); got > 1 { // a collection may empty the pool
		t.Errorf("%v allocations for a buffer that is there", got)
	}
}
