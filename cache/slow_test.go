package cache_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// A server serves nobody else while it takes a step: a renewal of the lease waits, and so does whoever shares it. Whatever
// goes through all that is remembered does it in pages. SLOTSYNC_TEST_SHIFTS sets how many there are, 20,000 by default.
func TestNoStepKeepsTheServerForLong(t *testing.T) {
	url := fromStack(t, serverURL)
	const size, longest = 1000, 50 * time.Millisecond
	many := 20_000
	if n, err := strconv.Atoi(os.Getenv("SLOTSYNC_TEST_SHIFTS")); err == nil {
		many = n
	}
	s := outside(t, cache.Config{URL: url})
	r := s.atWork(t)
	for from := 0; from < many; from += size {
		var intents []shiftsync.Intent
		var settled []shiftsync.Settled
		for id := from + 1; id <= from+size; id++ {
			intents, settled = append(intents, intent(int64(id), 1, 1)), append(settled, acknowledged(int64(id), 1, 1))
		}
		intend(t, r, intents...)
		remember(t, r, settled...)
		if err := r.Renew(t.Context(), worker, time.Hour); err != nil { // nobody renews it meanwhile here
			t.Fatal(err)
		}
	}
	ctx := context.WithoutCancel(t.Context())
	threshold := func(d time.Duration) {
		if err := s.client.ConfigSet(ctx, "slowlog-log-slower-than", strconv.FormatInt(d.Microseconds(), 10)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	threshold(time.Millisecond)
	defer threshold(10 * time.Millisecond) // as servers come
	none := func(int64) bool { return false }
	for _, step := range []struct {
		name string
		take func() error
	}{
		{"the roll, where nobody is missing", func() error {
			_, err := r.Absent(ctx, window, func(int64) bool { return true }, func(shiftsync.Absent) {})
			return err
		}},
		{"the roll, where all are missing", func() error {
			_, err := r.Absent(ctx, window, none, func(shiftsync.Absent) {})
			return err
		}},
		{"a sweep", func() error {
			_, err := r.Sweep(ctx, term, time.Hour, true)
			return err
		}},
		{"a list for --republish", func() error { return r.Remembered(ctx, func(int64, time.Time) error { return nil }) }},
		{"a forgetting", func() error { return r.Forget(ctx, worker) }},
	} {
		if err := s.client.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := step.take(); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		slow, err := s.client.SlowLogGet(ctx, -1).Result()
		if err != nil {
			t.Fatal(err)
		}
		slowest := time.Duration(0)
		for _, call := range slow {
			slowest = max(slowest, call.Duration)
		}
		t.Logf("%s: %s for %d shifts, commands above a millisecond: %d, the slowest %s", step.name, took, many, len(slow), slowest)
		if slowest > longest {
			t.Errorf("%s: one command took %s", step.name, slowest)
		}
	}
}
