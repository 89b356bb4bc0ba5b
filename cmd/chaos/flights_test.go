//go:build linux

package main

import "testing"

func TestWhatMayBeRepeatedIsWhatWasInFlight(t *testing.T) {
	const doubt = -1
	for _, c := range []struct {
		claim string
		seen  []int
		want  int
	}{
		{"nothing without a doubt", []int{0, 500, 0, 700}, 0},
		{"what stood before it", []int{0, 500, 40, doubt, 0}, 500},
		{"what is seen after it only", []int{0, doubt, 300, 0}, 300},
		{"once each time", []int{200, doubt, 200, doubt, 200, 0}, 400},
		{"not what was collected in an outage", []int{50_000, doubt}, mostInFlight},
		{"nothing before anything was seen", []int{doubt}, 0},
	} {
		t.Run(c.claim, func(t *testing.T) {
			var f flights
			f.see(0)
			for _, n := range c.seen {
				if n == doubt {
					f.end()
				} else {
					f.see(n)
				}
			}
			if got, _ := f.settle(); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if again, _ := f.settle(); again != 0 {
				t.Errorf("got %d once more", again)
			}
		})
	}
}
