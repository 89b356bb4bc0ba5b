//go:build linux

package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// at is the moment of the n-th version in these tests, each of which the API says for a second.
func at(n int) time.Time { return time.UnixMilli(int64(1_000_000 + 1000*n)) }

// told is a truth about one shift, of which the API has said all of that.
func told(labels ...label) (*truth, *shift) {
	t := newTruth(wiwtest.New(wiwtest.Options{}), 1, 1)
	s := t.all[0]
	s.versions = nil
	for i, l := range labels {
		s.versions = append(s.versions, version{l, at(i).UnixMilli()})
		t.labels = max(t.labels, l.number())
	}
	return t, s
}

// v is the label of the n-th version, which is a usual one.
func v(n int32) label { return newLabel(n, listed) }

// record is what the topic has of it: a label, formed when the API said its n-th version.
type record struct {
	label label
	n     int
}

// read gives a truth the records, and returns how many are repeats and the first complaint.
func read(t *truth, s *shift, records ...record) (repeats int, err error) {
	for i, r := range records {
		now := arrival{partition: 3, offset: int64(i), at: at(r.n), hash: r.label.String()}
		again, err := t.arrive(s.base.ID, r.label, now, fieldsOf(s, r.label))
		if err != nil {
			return repeats, err
		}
		if again != nil {
			repeats++
		}
	}
	return repeats, nil
}

// fieldsOf is what a record says that says all of a version; nil: nothing.
func fieldsOf(s *shift, l label) map[string]any {
	if l == tombstone {
		return nil
	}
	fields := map[string]any{}
	for {
		name, _, want := difference(fields, s.shape.Fit(s.content(l)))
		if name == "" {
			return fields
		}
		fields[name] = want
	}
}

func TestRecordsHaveToFollowTheAPI(t *testing.T) {
	for _, c := range []struct {
		claim   string
		said    []label
		records []record
		repeats int
		want    string // in the complaint; empty: there is none
	}{
		{"every version", []label{v(1), v(2), v(3)}, []record{{v(1), 0}, {v(2), 1}, {v(3), 2}}, 0, ""},
		{"some were overtaken", []label{v(1), v(2), v(3)}, []record{{v(1), 0}, {v(3), 2}}, 0, ""},
		{"there and back", []label{v(1), v(2), v(1)}, []record{{v(1), 0}, {v(2), 1}, {v(1), 2}}, 0, ""},
		{"back before it was seen", []label{v(1), v(2), v(1)}, []record{{v(1), 0}}, 0, ""},
		{"the same twice", []label{v(1), v(2)}, []record{{v(1), 0}, {v(1), 0}, {v(2), 1}, {v(2), 1}}, 2, ""},
		{"sent once more when it was back", []label{v(1), v(2), v(1)}, []record{{v(1), 0}, {v(1), 2}}, 1, ""},
		{"deleted and restored as it was", []label{v(1), tombstone, v(1)}, []record{{v(1), 0}, {tombstone, 1}, {v(1), 2}}, 0, ""},
		{"a tombstone twice", []label{v(1), tombstone}, []record{{v(1), 0}, {tombstone, 1}, {tombstone, 1}}, 1, ""},
		{"an older one behind a newer", []label{v(1), v(2)}, []record{{v(1), 0}, {v(2), 1}, {v(1), 0}}, 0, "out of order"},
		{"an older one behind a newer, long after", []label{v(1), v(2)}, []record{{v(1), 0}, {v(2), 1}, {v(1), 5}}, 0, "out of order"},
		{"a late one that looks like what came back", []label{v(1), v(2), v(1)}, []record{{v(1), 0}, {v(2), 1}, {v(1), 0}}, 0, "out of order"},
		{"what was undone lands behind the undoing", []label{v(1), v(2), v(1)}, []record{{v(1), 0}, {v(2), 1}, {v(1), 2}, {v(2), 1}}, 0, "out of order"},
		{"nothing that the API ever said", []label{v(1), v(2)}, []record{{v(7), 1}}, 0, "out of order"},
		{"before the API said it", []label{v(1), v(2)}, []record{{v(2), 0}}, 0, "out of order"},
		{"an older one behind a tombstone", []label{v(1), tombstone}, []record{{v(1), 0}, {tombstone, 1}, {v(1), 1}}, 0, "out of order"},
		{"a tombstone of what exists", []label{v(1), v(2)}, []record{{v(1), 0}, {tombstone, 1}}, 0, "a tombstone without the API's word"},
		{"a tombstone before the deletion", []label{v(1), tombstone}, []record{{v(1), 0}, {tombstone, 0}}, 0, "a tombstone without the API's word"},
		{"a late tombstone behind what was restored", []label{v(1), tombstone, v(2)}, []record{{v(1), 0}, {v(2), 2}, {tombstone, 2}}, 0, "a tombstone"},
		{"a bad version", []label{v(1), newLabel(2, large)}, []record{{v(1), 0}, {newLabel(2, large), 1}}, 0, "should be a dead letter"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			truth, s := told(c.said...)
			repeats, err := read(truth, s, c.records...)
			var broken *violation
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want no complaint", err)
			case c.want != "" && (!errors.As(err, &broken) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want one about %q", err, c.want)
			case repeats != c.repeats:
				t.Errorf("got %d repeats, want %d", repeats, c.repeats)
			}
		})
	}
}

func TestRecordsHaveToSayWhatTheAPISaid(t *testing.T) {
	truth, s := told(v(1))
	if _, err := read(truth, s, record{v(1), 0}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		claim string
		spoil func(fields map[string]any, a *arrival)
	}{
		{"another field", func(f map[string]any, _ *arrival) { f["user_id"] = int64(-7) }},
		{"a field is missing", func(f map[string]any, _ *arrival) { delete(f, "end_time") }},
		{"another partition", func(_ map[string]any, a *arrival) { a.partition++ }},
		{"another hash of the same content", func(_ map[string]any, a *arrival) { a.hash = "other" }},
	} {
		t.Run(c.claim, func(t *testing.T) {
			fields, now := fieldsOf(s, v(1)), s.last
			c.spoil(fields, &now)
			if _, err := truth.arrive(s.base.ID, v(1), now, fields); err == nil {
				t.Error("there is no complaint")
			}
		})
	}
	if _, err := truth.arrive(s.base.ID+1, v(1), s.last, nil); err == nil {
		t.Error("there is no complaint about a shift that the API never had")
	}
}

func TestDebts(t *testing.T) {
	unread := newLabel(3, unreadable)
	for _, c := range []struct {
		claim    string
		deletes  mode
		said     []label
		records  []record
		lettered label
		intended label // when it turned into something else; 0: no intent stood
		into     kind  // listed: it did not turn
		want     int   // debts
	}{
		{"nothing has arrived", "", []label{v(1)}, nil, 0, 0, listed, 1},
		{"the newest has arrived", "", []label{v(1), v(2)}, []record{{v(2), 1}}, 0, 0, listed, 0},
		{"an older one has arrived", "", []label{v(1), v(2)}, []record{{v(1), 0}}, 0, 0, listed, 1},
		{"it is as it was before", "", []label{v(1), v(2), v(1)}, []record{{v(1), 0}}, 0, 0, listed, 0},
		{"it is as it was before, which the topic does not say", "", []label{v(1), v(2), v(1)}, []record{{v(1), 0}, {v(2), 1}}, 0, 0, listed, 1},
		{"left unseen", deletesOff, []label{v(1), v(2)}, nil, 0, 0, away, 0},
		{"left unseen, and something had arrived", deletesOff, []label{v(1), v(2)}, []record{{v(1), 0}}, 0, 0, away, 0},
		{"left when an intent stood", deletesOff, []label{v(1), v(2)}, []record{{v(1), 0}}, 0, v(2), away, 1},
		{"left when an intent stood, which is done", deletesOff, []label{v(1), v(2)}, []record{{v(1), 0}, {v(2), 1}}, 0, v(2), away, 0},
		{"left when an older intent stood", deletesOff, []label{v(1), v(2), v(3)}, []record{{v(2), 1}}, 0, v(2), away, 0},
		{"left unseen, and those that left are asked for", deletesUpdate, []label{v(1)}, nil, 0, 0, away, 0},
		{"moved away, and those that left are asked for", deletesUpdate, []label{v(1)}, []record{{v(1), 0}}, 0, 0, away, 1},
		{"unlisted, and those that left are asked for", deletesUpdate, []label{v(1)}, []record{{v(1), 0}}, 0, 0, unlisted, 1},
		{"deleted, and nobody wants tombstones", deletesUpdate, []label{v(1)}, []record{{v(1), 0}}, 0, 0, gone, 0},
		{"deleted", deletesTombstone, []label{v(1)}, []record{{v(1), 0}}, 0, 0, gone, 1},
		{"deleted when the first intent stood", deletesTombstone, []label{v(1)}, nil, 0, v(1), gone, 1},
		{"deleted unseen", deletesTombstone, []label{v(1)}, nil, 0, 0, gone, 0},
		{"deleted, and the tombstone is there", deletesTombstone, []label{v(1), tombstone}, []record{{v(1), 0}, {tombstone, 1}}, 0, 0, listed, 0},
		{"restored, and the topic ends on the tombstone", deletesTombstone, []label{v(1), tombstone, v(2)}, []record{{tombstone, 1}}, 0, 0, listed, 1},
		{"bad, and there is no letter", "", []label{v(1), unread}, []record{{v(1), 0}}, 0, 0, listed, 1},
		{"bad, and there is a letter of another version", "", []label{v(1), unread}, []record{{v(1), 0}}, newLabel(2, unreadable), 0, listed, 1},
		{"bad, and there is a letter", "", []label{v(1), unread}, []record{{v(1), 0}}, unread, 0, listed, 0},
	} {
		t.Run(c.claim, func(t *testing.T) {
			truth, s := told(c.said...)
			truth.deletes, s.lettered = deletesTombstone, c.lettered
			if _, err := read(truth, s, c.records...); err != nil {
				t.Fatal(err)
			}
			if c.deletes != "" {
				truth.set(c.deletes)
			}
			if c.into != listed {
				intended := map[int64]label{}
				if c.intended != 0 {
					intended[s.base.ID] = c.intended
				}
				truth.turn([]*shift{s}, c.into, intended)
			}
			if got := len(truth.debts(truth.due)); got != c.want {
				t.Errorf("got %d debts, want %d: %s", got, c.want, s.history())
			}
		})
	}
}

func TestADebtIsPaidByWhatCameLater(t *testing.T) {
	truth, s := told(v(1), v(2))
	if _, err := read(truth, s, record{v(1), 0}); err != nil {
		t.Fatal(err)
	}
	due := truth.debts(truth.due)
	if got := truth.remaining(due, truth.due); len(got) != 1 {
		t.Fatalf("got %d debts, want 1", len(got))
	}
	truth.revert([]*shift{s})
	if got := truth.remaining(due, truth.due); len(got) != 0 {
		t.Errorf("got %d debts after the shift was reverted, want none", len(got))
	}
}

func TestNobodySendsTombstonesUnasked(t *testing.T) {
	for _, set := range []mode{deletesOff, deletesUpdate} {
		truth, s := told(v(1), tombstone)
		truth.set(set)
		_, err := read(truth, s, record{v(1), 0}, record{tombstone, 1})
		complaint(t, err, "came while SYNC_DELETES was "+string(set))
	}
}

func TestADeletionIsDueOnceTheAPISaysSo(t *testing.T) {
	truth, s := told(v(1))
	if _, err := read(truth, s, record{v(1), 0}); err != nil {
		t.Fatal(err)
	}
	some := []*shift{s}
	truth.veil(some, wiwtest.HTML(http.StatusNotFound))
	truth.turn(some, gone, nil)
	if got := truth.debts(truth.due); len(got) != 0 {
		t.Errorf("got %d debts while the API does not say what became of it, want none", len(got))
	}
	early := arrival{partition: 3, offset: 1, at: time.Now(), hash: "deleted"}
	if _, err := truth.arrive(s.base.ID, tombstone, early, nil); err == nil {
		t.Error("there is no complaint about a tombstone before the API's word")
	}
	truth.unveil(some)
	if got := truth.debts(truth.due); len(got) != 1 {
		t.Errorf("got %d debts when the API says that it is deleted, want 1", len(got))
	}
}

func TestAPlanHangsOnItsSeed(t *testing.T) {
	draw := func(seed uint64) (names []string, chance uint64) {
		p := newPlan(seed, nil)
		for range 200 {
			f, r := p.next()
			names = append(names, f.name)
			chance ^= r.Uint64()
		}
		return names, chance
	}
	one, chance := draw(1)
	same, sameChance := draw(1)
	other, otherChance := draw(2)
	if strings.Join(one, ";") != strings.Join(same, ";") || chance != sameChance {
		t.Error("two plans with one seed differ")
	}
	if strings.Join(one, ";") == strings.Join(other, ";") || chance == otherChance {
		t.Error("plans with different seeds are the same")
	}
	for _, f := range append(deadly(), harmful()...) {
		if !strings.Contains(strings.Join(one, ";"), f.name) {
			t.Errorf("%q is not among 200 strikes", f.name)
		}
	}
	for i, name := range one {
		if deadly := strings.Contains(name, "killed") && name != "broker killed" && name != "Redis killed and restarted"; deadly != (i%2 == 0) {
			t.Errorf("strike %d is %q: every other one kills a worker", i, name)
		}
	}
}

func TestEachBreakageMeetsFaults(t *testing.T) {
	patches, err := filepath.Glob("testdata/broken/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("got %d patches and %v", len(patches), err)
	}
	for _, path := range patches {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "\nfaults: ")
		line, _, found := strings.Cut(rest, "\n")
		words := strings.Split(line, ",")
		if !found || line == "" {
			t.Errorf("%s names no faults that are to strike", path)
		}
		for _, word := range words {
			if newPlan(1, []string{word}).empty() {
				t.Errorf("%s wants faults with %q in their names, and there are none", path, word)
			}
		}
	}
}
