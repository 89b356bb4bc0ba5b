//go:build linux

package main

import "sync"

// flights is what workers have in flight: published perhaps, and not remembered. Whenever a worker cannot know what became
// of that, it may send it again, once.
type flights struct {
	mu    sync.Mutex // guards what follows
	last  int        // open intents, as they were seen last
	peaks []int      // the most of them that were seen between two doubts; the last one is since the last doubt
}

// mostInFlight bounds what a worker has between publishing and remembering: a batch in each stage and one between them,
// of up to twice 500. More intents than that were collected, and are not in flight.
const mostInFlight = 3000

// see notes how many intents are open.
func (f *flights) see(open int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = min(open, mostInFlight)
	if len(f.peaks) == 0 {
		f.peaks = []int{0}
	}
	newest := &f.peaks[len(f.peaks)-1]
	*newest = max(*newest, f.last)
}

// end notes that all that was in flight is in doubt now.
func (f *flights) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.peaks = append(f.peaks, f.last)
}

// settle returns how much was in flight, all times of doubt since the last call together, and how many these were. What is
// in doubt stands before the doubt and after it, and while Redis is away it can be seen on one side only.
func (f *flights) settle() (flown, doubts int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 1; i < len(f.peaks); i++ {
		flown += max(f.peaks[i-1], f.peaks[i])
	}
	doubts = max(0, len(f.peaks)-1)
	f.peaks = []int{f.last}
	return flown, doubts
}
