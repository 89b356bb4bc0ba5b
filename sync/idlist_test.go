package shiftsync_test

import (
	"math/rand/v2"
	"testing"

	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestTheRollKnowsWhoWasSeen(t *testing.T) {
	for _, n := range []int{0, 1, 2, 8191, 8192, 8193, 3*8192 + 5} { // ids are held in pieces of 8192
		ids := make([]int64, n)
		for i, at := range rand.New(rand.NewPCG(1, uint64(n))).Perm(n) {
			ids[i] = 10 + 2*int64(at)
		}
		seen := shiftsync.WasSeen(ids)
		for id := int64(8); id < int64(12+2*n); id++ {
			if got, want := seen(id), id%2 == 0 && id >= 10 && id < int64(10+2*n); got != want {
				t.Fatalf("of %d shifts: %d was seen: %v, want %v", n, id, got, want)
			}
		}
	}
}
