package world_test

import (
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

func TestKeysExpire(t *testing.T) {
	w, err := world.Start(world.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Redis.Set("lease", "of a killed worker"); err != nil {
		t.Fatal(err)
	}
	w.Redis.SetTTL("lease", time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for w.Redis.Exists("lease") {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it is still there after 20 s")
		}
	}
}
