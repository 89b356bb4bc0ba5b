//go:build linux

package main

import (
	"errors"
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
	s := t.shifts[0]
	s.versions = nil
	for i, l := range labels {
		s.versions = append(s.versions, version{l, at(i).UnixMilli()})
		t.labels = max(t.labels, l)
	}
	return t, s
}

// record is what the topic has of it: a label, formed when the API said its n-th version.
type record struct {
	label label
	n     int
}

// read gives a truth the records, and returns how many are repeats and the first complaint.
func read(t *truth, s *shift, records ...record) (repeats int, err error) {
	for i, r := range records {
		content := s.shape.Fit(s.content(r.label))
		fields := map[string]any{}
		for name := (""); ; {
			var want any
			if name, _, want = difference(fields, content); name == "" {
				break
			}
			fields[name] = want
		}
		now := arrival{partition: 3, offset: int64(i), at: at(r.n), hash: string(rune('a' + r.label))}
		repeat, err := t.arrive(s.base.ID, r.label, now, fields)
		if err != nil {
			return repeats, err
		}
		if repeat {
			repeats++
		}
	}
	return repeats, nil
}

func TestRecordsHaveToFollowTheAPI(t *testing.T) {
	for _, c := range []struct {
		claim   string
		said    []label
		records []record
		repeats int
		want    string // in the complaint; empty: there is none
	}{
		{"every version", []label{1, 2, 3}, []record{{1, 0}, {2, 1}, {3, 2}}, 0, ""},
		{"some were overtaken", []label{1, 2, 3}, []record{{1, 0}, {3, 2}}, 0, ""},
		{"there and back", []label{1, 2, 1}, []record{{1, 0}, {2, 1}, {1, 2}}, 0, ""},
		{"back before it was seen", []label{1, 2, 1}, []record{{1, 0}}, 0, ""},
		{"the same twice", []label{1, 2}, []record{{1, 0}, {1, 0}, {2, 1}, {2, 1}}, 2, ""},
		{"sent once more when it was back", []label{1, 2, 1}, []record{{1, 0}, {1, 2}}, 1, ""},
		{"an older one behind a newer", []label{1, 2}, []record{{1, 0}, {2, 1}, {1, 0}}, 0, "out of order"},
		{"an older one behind a newer, long after", []label{1, 2}, []record{{1, 0}, {2, 1}, {1, 5}}, 0, "out of order"},
		{"a late one that looks like what came back", []label{1, 2, 1}, []record{{1, 0}, {2, 1}, {1, 0}}, 0, "out of order"},
		{"what was undone lands behind the undoing", []label{1, 2, 1}, []record{{1, 0}, {2, 1}, {1, 2}, {2, 1}}, 0, "out of order"},
		{"nothing that the API ever said", []label{1, 2}, []record{{7, 1}}, 0, "out of order"},
		{"before the API said it", []label{1, 2}, []record{{2, 0}}, 0, "out of order"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			truth, s := told(c.said...)
			repeats, err := read(truth, s, c.records...)
			var v *violation
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want no complaint", err)
			case c.want != "" && (!errors.As(err, &v) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want one about %q", err, c.want)
			case repeats != c.repeats:
				t.Errorf("got %d repeats, want %d", repeats, c.repeats)
			}
		})
	}
}

func TestRecordsHaveToSayWhatTheAPISaid(t *testing.T) {
	truth, s := told(1)
	if _, err := read(truth, s, record{1, 0}); err != nil {
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
			fields := map[string]any{}
			content := s.shape.Fit(s.content(1))
			for {
				name, _, want := difference(fields, content)
				if name == "" {
					break
				}
				fields[name] = want
			}
			now := s.last
			c.spoil(fields, &now)
			if _, err := truth.arrive(s.base.ID, 1, now, fields); err == nil {
				t.Error("there is no complaint")
			}
		})
	}
	if _, err := truth.arrive(s.base.ID+1, 1, s.last, nil); err == nil {
		t.Error("there is no complaint about a shift that the API never had")
	}
}

func TestDebts(t *testing.T) {
	for _, c := range []struct {
		claim    string
		said     []label
		records  []record
		intended label // when it left the window; 0: it did not leave, below 0: nothing was
		want     int   // debts
	}{
		{"nothing has arrived", []label{1}, nil, 0, 1},
		{"the newest has arrived", []label{1, 2}, []record{{2, 1}}, 0, 0},
		{"an older one has arrived", []label{1, 2}, []record{{1, 0}}, 0, 1},
		{"it is as it was before", []label{1, 2, 1}, []record{{1, 0}}, 0, 0},
		{"it is as it was before, which the topic does not say", []label{1, 2, 1}, []record{{1, 0}, {2, 1}}, 0, 1},
		{"left unseen", []label{1, 2}, nil, -1, 0},
		{"left unseen, and something had arrived", []label{1, 2}, []record{{1, 0}}, -1, 0},
		{"left when an intent stood", []label{1, 2}, []record{{1, 0}}, 2, 1},
		{"left when an intent stood, which is done", []label{1, 2}, []record{{1, 0}, {2, 1}}, 2, 0},
		{"left when an older intent stood", []label{1, 2, 3}, []record{{2, 1}}, 2, 0},
	} {
		t.Run(c.claim, func(t *testing.T) {
			truth, s := told(c.said...)
			if c.intended != 0 {
				truth.move([]*shift{s}, map[int64]label{s.base.ID: c.intended})
			}
			if _, err := read(truth, s, c.records...); err != nil {
				t.Fatal(err)
			}
			if got := len(truth.debts()); got != c.want {
				t.Errorf("got %d debts, want %d: %s", got, c.want, s.history())
			}
		})
	}
}

func TestADebtIsPaidByWhatCameLater(t *testing.T) {
	truth, s := told(1, 2)
	if _, err := read(truth, s, record{1, 0}); err != nil {
		t.Fatal(err)
	}
	due := truth.debts()
	if got := truth.remaining(due); len(got) != 1 {
		t.Fatalf("got %d debts, want 1", len(got))
	}
	truth.revert([]*shift{s})
	if got := truth.remaining(due); len(got) != 0 {
		t.Errorf("got %d debts after the shift was reverted, want none", len(got))
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
