package cache_test

import (
	"context"
	"maps"
	"testing"

	"github.com/slotsync/slotsync/cache"
)

func TestStrandedNamesWhatStaysOpenElsewhere(t *testing.T) {
	onEach(t, func(t *testing.T, s *server) {
		const topic = "stranded-[a]*"
		want := map[string]int64{
			cache.Destination("old", topic, ""):   2,
			cache.Destination("old/2", topic, ""): 1,
		}
		open := maps.Clone(want)
		open[cache.Destination("new", topic, "")] = 3      // the worker's own
		open[cache.Destination("old", topic, "leeds")] = 3 // of another name
		open[cache.Destination("old", "stranded-aX", "")] = 3
		open[cache.Destination("old", "other", topic)] = 3 // another topic, whose name ends like this one
		for destination, n := range open {
			key := "slotsync:{" + destination + "}:intents"
			t.Cleanup(func() { s.client.Del(context.WithoutCancel(t.Context()), key) })
			for i := range n {
				if err := s.client.HSet(t.Context(), key, i, "x").Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		got, err := cache.Stranded(t.Context(), s.client, "new", topic, "")
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
		got, err = cache.Stranded(t.Context(), s.client, "new", topic, "leeds")
		if want := map[string]int64{cache.Destination("old", topic, "leeds"): 3}; err != nil || !maps.Equal(got, want) {
			t.Errorf("with a name: got %v, %v, want %v", got, err, want)
		}
	})
}
