package cache_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

const (
	batch   = 500
	batches = 200 // so many different ones: the hash of a large customer
)

func benchServer(b *testing.B) *server {
	b.Helper()
	if url := os.Getenv("SLOTSYNC_TEST_REDIS"); url != "" {
		return outside(b, cache.Config{URL: url})
	}
	return inProcess(b)
}

func benchBatches() (intents [][]shiftsync.Intent, settled [][]shiftsync.Settled) {
	for n := range batches {
		var in []shiftsync.Intent
		var done []shiftsync.Settled
		for i := range batch {
			id := int64(4_000_000_000 + n*batch + i)
			one := intent(id, uint64(n+1), 1)
			one.Value = bytes.Repeat([]byte{byte(i)}, 282)
			in = append(in, one)
			done = append(done, acknowledged(id, uint64(n+1), 1))
		}
		intents, settled = append(intents, in), append(settled, done)
	}
	return intents, settled
}

func filled(b *testing.B) (*cache.Redis, [][]shiftsync.Intent, [][]shiftsync.Settled) {
	b.Helper()
	s := benchServer(b)
	r := s.atWork(b)
	intents, settled := benchBatches()
	for n := range intents {
		intend(b, r, intents[n]...)
		remember(b, r, settled[n]...)
	}
	return r, intents, settled
}

func perShift(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/shift")
}

// BenchmarkLookup is the common case: nothing is in flight and nothing set aside.
func BenchmarkLookup(b *testing.B) {
	r, intents, _ := filled(b)
	benchLookup(b, r, intents)
}

// BenchmarkLookupInFlight is a lookup while another batch is between intent and remembering.
func BenchmarkLookupInFlight(b *testing.B) {
	r, intents, _ := filled(b)
	intend(b, r, intents[0]...)
	benchLookup(b, r, intents[1:])
}

func benchLookup(b *testing.B, r *cache.Redis, intents [][]shiftsync.Intent) {
	sightings := make([][]shiftsync.Sighting, len(intents))
	for n := range intents {
		for _, in := range intents[n] {
			sightings[n] = append(sightings[n], shiftsync.Sighting{ID: in.ID})
		}
	}
	into := make([]shiftsync.Known, batch)
	n := 0
	for b.Loop() {
		if err := r.Lookup(b.Context(), sightings[n%len(sightings)], into); err != nil {
			b.Fatal(err)
		}
		n++
	}
	if !into[0].Remembered {
		b.Error("nothing was found")
	}
	perShift(b)
}

func BenchmarkIntend(b *testing.B) {
	r, intents, _ := filled(b)
	n := 0
	for b.Loop() {
		intend(b, r, intents[n%batches]...)
		n++
	}
	perShift(b)
}

// BenchmarkIntendAndRemember overwrites what is remembered.
func BenchmarkIntendAndRemember(b *testing.B) {
	r, intents, settled := filled(b)
	n := 0
	for b.Loop() {
		intend(b, r, intents[n%batches]...)
		if open := remember(b, r, settled[n%batches]...); open != 0 {
			b.Fatal("intents are left")
		}
		n++
	}
	perShift(b)
}

// BenchmarkAbsent compares all that is remembered with an answer that lacks nothing.
func BenchmarkAbsent(b *testing.B) {
	r, _, _ := filled(b)
	for b.Loop() {
		census, err := r.Absent(b.Context(), window, func(int64) bool { return true }, func(shiftsync.Absent) {})
		if err != nil || census.Expected < batch*batches {
			b.Fatalf("%d expected, %v", census.Expected, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch*batches), "ns/shift")
}
