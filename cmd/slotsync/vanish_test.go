package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// due makes the next pass look for missing shifts, and ask even for those that it has just asked for.
func due(w *world.World) {
	for _, key := range w.Redis.Keys() {
		if strings.HasSuffix(key, ":called") || strings.HasSuffix(key, ":missing") {
			w.Redis.Del(key)
		}
	}
}

// singles returns how many single shifts the API was asked for.
func singles(w *world.World) (n int) {
	for _, r := range w.API.Requests() {
		if strings.HasPrefix(r.Path, "/2/shifts/") {
			n++
		}
	}
	w.API.Forget()
	return n
}

func TestWhatVanishesFromTheAPI(t *testing.T) {
	w := start(t, world.Options{Shifts: 60, Partitions: 3})
	tombstone := env{"SYNC_DELETES": "tombstone", "WIW_INCLUDE": "open"}
	pass := func(claim string, settings env, want, code int, says string) {
		t.Helper()
		w.API.Forget()
		rep, got, log := once(t, w, settings)
		if published(rep) != want || got != code || !strings.Contains(log, says) {
			t.Errorf("%s: published %d, exit %d, want %d, %d and %q in\n%s", claim, published(rep), got, want, code, says, log)
		}
		if strings.Contains(log, `"level":"ERROR"`) {
			t.Errorf("%s:\n%s", claim, log)
		}
	}
	last := func(id int64) *record {
		t.Helper()
		var newest *record
		for _, r := range consume(t, w) {
			if r.id == id {
				newest = &r
			}
		}
		return newest
	}
	if _, code, log := once(t, w, tombstone); code != 0 {
		t.Fatal(log)
	}

	// Shifts of the next hours that are listed.
	now := time.Now()
	var ids []int64
	for _, id := range slices.Sorted(maps.Keys(truth(w))) {
		if s, _ := w.API.Get(id); s.Published && s.StartTime.After(now) && s.IsShared.Set {
			ids = append(ids, id)
		}
	}
	if len(ids) < 6 {
		t.Fatalf("only %d shifts to choose from", len(ids))
	}
	deleted, away, unpublished, hidden, html := ids[0], ids[1], ids[2], ids[3], ids[4]
	w.API.Delete(deleted)
	s, _ := w.API.Get(away)
	s.StartTime, s.EndTime = s.StartTime.AddDate(0, 1, 0), s.EndTime.AddDate(0, 1, 0)
	w.API.Put(s, wiwtest.Shape2025)
	w.API.Unpublish(unpublished)
	w.API.Delete(hidden)
	w.API.FailOne(hidden, wiwtest.Status(http.StatusForbidden, `{"error":"You do not have permission to do this.","code":3005}`))

	pass("within the minute nobody looks", tombstone, 0, 0, `"pass done"`)
	if n := singles(w); n != 0 {
		t.Errorf("%d shifts were asked for", n)
	}
	due(w)
	before := everything(t, w)
	stdout, stderr, code := call(t, w, tombstone, "--once", "--dry-run")
	if code != 0 || strings.Count(stdout, "missing  ") != 4 || !strings.Contains(stdout, fmt.Sprintf("missing  %d:", deleted)) || everything(t, w) != before || singles(w) != 0 {
		t.Errorf("a dry run: status %d\n%s%s", code, stdout, stderr)
	}
	pass("with off nobody does", env{"SYNC_DELETES": "off", "WIW_INCLUDE": "open"}, 0, 0, `"pass done"`)
	pass("with update, what exists is published", env{"WIW_INCLUDE": "open"}, 2, 0, fmt.Sprintf(`"msg":"shifts were deleted","count":1,"ids":[%d]`, deleted))
	if n := singles(w); n != 4 {
		t.Errorf("%d shifts were asked for, want 4", n)
	}
	if r := last(deleted); r == nil || r.Value == nil {
		t.Errorf("a tombstone, though none was asked for: %+v", r)
	}
	if got, want := last(away).value["start_time"], s.StartTime.UTC().Format(time.RFC3339); got != want {
		t.Errorf("the one that moved starts %v, want %v", got, want)
	}
	if got := last(unpublished).value["published"]; got != false {
		t.Errorf("of the unpublished one, published is %v", got)
	}
	due(w)
	pass("with tombstone, what is gone becomes one", tombstone, 1, 0, `"missing":`)
	if r := last(deleted); r.Value != nil {
		t.Errorf("shift %d ends on %v", deleted, r.value)
	}
	if r := last(hidden); r.Value == nil {
		t.Error("one that is not shown got a tombstone")
	}

	// Later only those that are still in doubt are asked for.
	due(w)
	w.API.Delete(html)
	w.API.FailOne(html, wiwtest.HTML(http.StatusNotFound))
	pass("a gateway's 404 proves nothing", tombstone, 0, 0, "could not be looked up")
	w.API.FailOne(html, nil)

	stdout, stderr, code = call(t, w, nil, "tail", "--no-follow", "--id", fmt.Sprint(deleted))
	if lines := strings.Split(strings.TrimSpace(stdout), "\n"); code != 0 || !strings.Contains(lines[len(lines)-1], `"value":null`) {
		t.Errorf("tail: status %d\n%s%s", code, stdout, stderr)
	}
	stdout, _, _ = call(t, w, nil, "--republish", "all", "--yes")
	if strings.Contains(stdout, "nothing to do") {
		t.Error(stdout)
	}

}

// The list comes back empty, and later whole: nothing was deleted meanwhile.
func TestAnEmptyListDeletesNothing(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 20, Partitions: 1})
	settings := env{"SYNC_DELETES": "tombstone", "WIW_RATE": "6000"}
	if _, code, log := once(t, w, settings); code != 0 {
		t.Fatal(log)
	}
	n := len(consume(t, w))
	for id := range truth(w) {
		w.API.FailOne(id, wiwtest.Status(http.StatusNotFound, `{"error":"No shift found","code":4005}`))
	}
	w.API.Fail(1, wiwtest.Body(`{"shifts":[]}`))
	due(w)
	if rep, code, log := once(t, w, settings); code != 0 || published(rep) != 0 || !strings.Contains(log, "GONE_SHARE") {
		t.Errorf("got exit %d\n%s", code, log)
	}
	if got := len(consume(t, w)); got != n {
		t.Errorf("%d records were added", got-n)
	}
	w.API.Fail(-1, wiwtest.CutOff(0.7))
	due(w)
	if _, code, _ := once(t, w, settings); code != 1 || len(consume(t, w)) != n {
		t.Errorf("a list that was cut off: exit %d, %d records", code, len(consume(t, w)))
	}
}

func TestAnOlderVersionIsHeldBackAcrossPrograms(t *testing.T) {
	w := start(t, world.Options{Shifts: 20, Partitions: 1})
	if _, code, log := once(t, w, nil); code != 0 {
		t.Fatal(log)
	}
	id := slices.Min(slices.Collect(maps.Keys(truth(w))))
	s, _ := w.API.Get(id)
	s.Notes, s.UpdatedAt = "from a backup", s.UpdatedAt.Add(-time.Hour)
	w.API.Put(s, wiwtest.Shape2025)
	if rep, code, log := once(t, w, nil); code != 3 || published(rep) != 0 || !strings.Contains(log, `"held_back":1`) {
		t.Errorf("the first pass that sees it: exit %d\n%s", code, log)
	}
	if stdout, _, _ := call(t, w, nil, "--once", "--dry-run"); !strings.Contains(stdout, fmt.Sprintf("older    %d:", id)) {
		t.Errorf("a dry run says\n%s", stdout)
	}
	if rep, code, log := once(t, w, nil); code != 0 || published(rep) != 1 {
		t.Errorf("the second: exit %d\n%s", code, log)
	}
	inStep(t, w)
}
