//go:build linux

package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// truth is what the API says and has ever said. Each version of a shift has a label, which stands in its notes, so that
// a record tells which version it is. To revert a shift is to give it the label of an earlier version, and with it all of
// that version's content: A → B → A has the labels 1, 2, 1.
type truth struct {
	api    *wiwtest.Server
	seed   uint64
	origin time.Time // around which the shifts lie

	mu      sync.Mutex // guards what follows, and all of the shifts
	deletes mode       // how the workers are set
	all     []*shift
	usual   []*shift // those that are listed and good
	byID    map[int64]*shift
	labels  int32
	shown   int // shifts that are in the list
	fewest  int // that have been at a time
	short   int // faults during which the list has less than all
	counts  counts
}

// mode is a value of SYNC_DELETES.
type mode string

const (
	deletesOff       mode = "off"
	deletesUpdate    mode = "update"
	deletesTombstone mode = "tombstone"
)

type counts struct {
	changes, reverts, born int
	turned                 [kinds]int // by what they turned into
}

// shift is one shift's history in the API, and what has arrived of it.
type shift struct {
	base     shiftsync.Shift
	shape    wiwtest.Shape
	versions []version
	owed     int     // if not in the list: the index of the newest version that is known to have been seen; -1: none is
	veiled   bool    // the API does not say what became of it
	last     arrival // the newest record of its key
	lettered label   // version of the newest dead letter
	buried   arrival // that letter

	forgotten marks // when what was remembered of it was dropped
	adrift    marks // when a worker died while its intent stood
}

// marks are when something happened.
type marks []time.Time

// slack is for a time that was noted a little before or after what it is of.
const slack = time.Second

// between tells whether it happened between two times.
func (m marks) between(from, to time.Time) bool {
	return slices.ContainsFunc(m, func(at time.Time) bool { return at.After(from.Add(-slack)) && at.Before(to.Add(slack)) })
}

// version is what the API says of a shift from some moment on.
type version struct {
	label label
	at    int64 // Unix milliseconds
}

// untold is the time of a deletion that the API has not told of yet.
const untold = math.MaxInt64

// hot shifts get half of all changes.
const hot = 200

// newTruth fills the API with n shifts.
func newTruth(api *wiwtest.Server, seed uint64, n int) *truth {
	t := &truth{api: api, seed: seed, origin: time.Now().UTC().Truncate(time.Hour), byID: map[int64]*shift{}, deletes: deletesTombstone}
	for range n {
		t.bear()
	}
	t.fewest = n
	return t
}

// bear adds a shift. It lies where a day's run does not let it out of the window.
func (t *truth) bear() {
	base, shape := wiwtest.Made(t.seed, len(t.all), t.origin.Add(-2*time.Hour), t.origin.Add(40*time.Hour))
	base.Published = true
	s := &shift{base: base, shape: shape, owed: -1, last: arrival{version: -1}}
	t.all, t.usual, t.byID[base.ID] = append(t.all, s), append(t.usual, s), s
	t.shown++
	t.put(s, t.fresh(listed))
}

// fresh is a label that no version has.
func (t *truth) fresh(k kind) label {
	if k == gone {
		return tombstone
	}
	t.labels++
	return newLabel(t.labels, k)
}

// put makes the API say something of a shift.
func (t *truth) put(s *shift, l label) {
	at := time.Now().UnixMilli()
	if l == tombstone && s.veiled {
		at = untold
	}
	s.versions = append(s.versions, version{l, at})
	s.say(t.api, l)
}

// kind is where the shift is now.
func (s *shift) kind() kind {
	if len(s.versions) == 0 {
		return listed
	}
	return s.versions[len(s.versions)-1].label.kind()
}

// edit gives shifts in the list a new content.
func (t *truth) edit(some []*shift) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range some {
		if s.kind() == listed {
			t.put(s, t.fresh(listed))
			t.counts.changes++
		}
	}
}

// revert gives shifts in the list the content that they had before.
func (t *truth) revert(some []*shift) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range some {
		if n := len(s.versions); n > 1 && s.kind() == listed && s.versions[n-2].label.kind() == listed {
			t.put(s, s.versions[n-2].label)
			t.counts.changes++
			t.counts.reverts++
		}
	}
}

// turn makes shifts something else than they are. Of each that leaves the list or turns bad, the newest version whose
// intent stands has to arrive, if one is known, and nothing that has arrived may be taken back.
func (t *truth) turn(some []*shift, into kind, intended map[int64]label) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range some {
		was := s.kind()
		if was == into || was == gone && into != listed {
			continue
		}
		if was == listed {
			s.owed = s.last.version
		}
		if l, ok := intended[s.base.ID]; ok {
			s.owed = max(s.owed, s.newest(l))
		}
		t.put(s, t.fresh(into))
		t.counts.turned[into]++
		switch {
		case was.shown() && !into.shown():
			t.shown--
		case !was.shown() && into.shown():
			t.shown++
		}
		if into == listed {
			t.usual = append(t.usual, s)
		}
	}
	kept := t.usual[:0]
	for _, s := range t.usual {
		if s.kind() == listed {
			kept = append(kept, s)
		}
	}
	t.usual = kept
	t.fewest = min(t.fewest, t.shown)
}

// veil makes the API answer with a fault whoever asks for one of the shifts by itself.
func (t *truth) veil(some []*shift, fault wiwtest.Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range some {
		s.veiled = true
		t.api.FailOne(s.base.ID, fault)
	}
}

// unveil ends that. Only now the API says of the deleted ones that they are.
func (t *truth) unveil(some []*shift) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range some {
		if last := &s.versions[len(s.versions)-1]; last.at == untold {
			last.at = time.Now().UnixMilli()
		}
		s.veiled = false
		t.api.FailOne(s.base.ID, nil)
	}
}

// newest is the index of the newest version with a label, or -1.
func (s *shift) newest(l label) int {
	for i := len(s.versions) - 1; i >= 0; i-- {
		if s.versions[i].label == l {
			return i
		}
	}
	return -1
}

// birth adds n shifts.
func (t *truth) birth(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range n {
		t.bear()
		t.counts.born++
	}
}

// pick chooses n shifts that are listed and good, every other one of them hot.
func (t *truth) pick(r *rand.Rand, n int) []*shift {
	t.mu.Lock()
	defer t.mu.Unlock()
	picked := make([]*shift, 0, n)
	for i := range n {
		among := len(t.usual)
		if i%2 == 0 {
			among = min(among, hot)
		}
		picked = append(picked, t.usual[r.IntN(among)])
	}
	return picked
}

// pickOf chooses up to n different shifts of a kind, of which the API says what became of them.
func (t *truth) pickOf(r *rand.Rand, n int, k kind) (picked []*shift) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var some []*shift
	for _, s := range t.all {
		if s.kind() == k && !s.veiled {
			some = append(some, s)
		}
	}
	r.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some[:min(n, len(some))]
}

// least is how many shifts a whole answer has had at least.
func (t *truth) least() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.short > 0 {
		return 0
	}
	return t.fewest
}

// cutShort tells that the list has less than all for now, or, with less, no more.
func (t *truth) cutShort(less int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.short += less
}

// mode is how the workers are set.
func (t *truth) mode() mode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.deletes
}

// asks tells whether the workers ask for missing shifts.
func (t *truth) asks() bool { return t.mode() != deletesOff }

// set notes how the workers are set.
func (t *truth) set(m mode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deletes = m
}

// counted returns the counts so far.
func (t *truth) counted() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// forgot notes that what was remembered of shifts was dropped.
func (t *truth) forgot(ids []int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		if s := t.byID[id]; s != nil {
			s.forgotten = append(s.forgotten, time.Now())
		}
	}
}

// left notes the shifts whose intents stood when a worker died, and returns how many there are.
func (t *truth) left(ids []int64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		if s := t.byID[id]; s != nil {
			s.adrift = append(s.adrift, time.Now())
		}
	}
	return len(ids)
}

// lengthiest is how much of a history is told.
const lengthiest = 8

// history tells of a shift, for people.
func (s *shift) history() string {
	var b strings.Builder
	from := max(0, min(len(s.versions)-lengthiest, s.last.version))
	fmt.Fprintf(&b, "shift %d: the API said", s.base.ID)
	if from > 0 {
		fmt.Fprintf(&b, " (after %d versions)", from)
	}
	for i, v := range s.versions[from:] {
		if i == 2*lengthiest {
			fmt.Fprintf(&b, " … and %d more", len(s.versions)-from-i)
			break
		}
		at := "not yet"
		if v.at != untold {
			at = time.UnixMilli(v.at).Format("15:04:05.000")
		}
		fmt.Fprintf(&b, " %s@%s", v.label, at)
	}
	if s.veiled {
		b.WriteString(", and does not answer for it by itself")
	}
	if s.last.version < 0 {
		b.WriteString("; the topic has nothing")
	} else {
		fmt.Fprintf(&b, "; the topic ends on %s", s.last)
	}
	if s.kind().bad() {
		fmt.Fprintf(&b, "; the newest dead letter is of version %s", s.lettered)
	}
	return b.String()
}
