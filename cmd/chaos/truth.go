//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
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

	mu     sync.Mutex // guards what follows, and all of the shifts
	shifts []*shift   // those in the window
	byID   map[int64]*shift
	labels label
	fewest int // shifts that have been in the window at a time
	counts counts
}

type counts struct{ changes, reverts, moved, born int }

// label tells versions of all shifts apart by their content.
type label int32

// shift is one shift's history in the API, and what has arrived of it.
type shift struct {
	base     shiftsync.Shift
	shape    wiwtest.Shape
	versions []version
	left     bool    // it was moved out of the window
	owed     int     // if left: the index of the newest version that is known to have been seen; -1: none is
	last     arrival // the newest record of its key
}

// version is what the API says of a shift from some moment on.
type version struct {
	label label
	at    int64 // Unix milliseconds
}

// hot shifts get half of all changes.
const hot = 200

// newTruth fills the API with n shifts.
func newTruth(api *wiwtest.Server, seed uint64, n int) *truth {
	t := &truth{api: api, seed: seed, origin: time.Now().UTC().Truncate(time.Hour), byID: map[int64]*shift{}}
	for range n {
		t.bear()
	}
	t.fewest = n
	return t
}

// bear adds a shift. It lies where a day's run does not let it out of the window.
func (t *truth) bear() {
	base, shape := wiwtest.Made(t.seed, len(t.byID), t.origin.Add(-2*time.Hour), t.origin.Add(40*time.Hour))
	s := &shift{base: base, shape: shape, owed: -1, last: arrival{version: -1}}
	t.shifts, t.byID[base.ID] = append(t.shifts, s), s
	t.put(s, t.fresh())
}

func (t *truth) fresh() label { t.labels++; return t.labels }

// put makes the API say something of a shift.
func (t *truth) put(s *shift, l label) {
	s.versions = append(s.versions, version{l, time.Now().UnixMilli()})
	t.api.Put(s.content(l), s.shape)
}

// content is what a label stands for.
func (s *shift) content(l label) shiftsync.Shift {
	c := s.base
	c.Notes = fmt.Sprintf("nOtE~%d~", l)
	c.UpdatedAt = c.UpdatedAt.Add(time.Duration(l) * time.Second)
	c.EndTime = c.EndTime.Add(time.Duration(l%7) * 15 * time.Minute)
	return c
}

var noted = regexp.MustCompile(`nOtE~(\d+)~`)

// labelIn finds the label in a text that holds notes.
func labelIn(text string) (label, bool) {
	m := noted.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	return label(n), err == nil
}

// edit gives shifts a new content.
func (t *truth) edit(some []*shift) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range some {
		if !s.left {
			t.put(s, t.fresh())
			t.counts.changes++
		}
	}
}

// revert gives shifts the content that they had before.
func (t *truth) revert(some []*shift) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range some {
		if n := len(s.versions); n > 1 && !s.left {
			t.put(s, s.versions[n-2].label)
			t.counts.changes++
			t.counts.reverts++
		}
	}
}

// move takes shifts out of the window. Of each, the newest version whose intent stands has to arrive, if one is known,
// and nothing that has arrived may be taken back.
func (t *truth) move(some []*shift, intended map[int64]label) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range some {
		if s.left {
			continue
		}
		s.left, s.owed = true, s.last.version
		if l, ok := intended[s.base.ID]; ok {
			s.owed = max(s.owed, s.newest(l))
		}
		c := s.content(t.fresh())
		c.StartTime, c.EndTime = c.StartTime.AddDate(0, 0, 20), c.EndTime.AddDate(0, 0, 20)
		t.api.Put(c, s.shape)
		t.counts.moved++
	}
	kept := t.shifts[:0]
	for _, s := range t.shifts {
		if !s.left {
			kept = append(kept, s)
		}
	}
	t.shifts = kept
	t.fewest = min(t.fewest, len(kept))
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

// pick chooses n shifts in the window, every other one of them hot.
func (t *truth) pick(r *rand.Rand, n int) []*shift {
	t.mu.Lock()
	defer t.mu.Unlock()
	picked := make([]*shift, 0, n)
	for i := range n {
		among := len(t.shifts)
		if i%2 == 0 {
			among = min(among, hot)
		}
		picked = append(picked, t.shifts[r.IntN(among)])
	}
	return picked
}

// least is how many shifts a whole answer has had at least.
func (t *truth) least() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fewest
}

// counted returns the counts so far.
func (t *truth) counted() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// debt is a version that has to arrive, or one from later, unless what they say is in the topic already.
type debt struct {
	shift   *shift
	version int
}

// debts are all versions that have yet to arrive.
func (t *truth) debts() []debt {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due []debt
	for _, s := range t.byID {
		d := debt{s, len(s.versions) - 1}
		if s.left {
			d.version = s.owed
		}
		if !d.paid() {
			due = append(due, d)
		}
	}
	return due
}

// remaining returns those debts that have still to be paid.
func (t *truth) remaining(due []debt) []debt {
	t.mu.Lock()
	defer t.mu.Unlock()
	var left []debt
	for _, d := range due {
		if d.shift.left {
			d.version = min(d.version, d.shift.owed) // moved away before it was seen
		}
		if !d.paid() {
			left = append(left, d)
		}
	}
	return left
}

// paid tells whether the topic's last record of the shift says what the API has said since that version.
func (d debt) paid() bool {
	s := d.shift
	if d.version < 0 || s.last.version >= d.version {
		return true
	}
	return s.last.version >= 0 && s.newest(s.versions[s.last.version].label) >= d.version
}

// newestOf returns what the API says of the shifts now.
func (t *truth) newestOf(some []*shift) []debt {
	t.mu.Lock()
	defer t.mu.Unlock()
	newest := make([]debt, len(some))
	for i, s := range some {
		newest[i] = debt{s, len(s.versions) - 1}
	}
	return newest
}

// unseen returns those of the versions that no intent is of, though the API still says them.
func (t *truth) unseen(some []debt, intended map[int64]label) (unseen []debt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range some {
		newest := d.shift.versions[len(d.shift.versions)-1].label
		if d.version == len(d.shift.versions)-1 && intended[d.shift.base.ID] != newest && !d.shift.left {
			unseen = append(unseen, d)
		}
	}
	return unseen
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
		fmt.Fprintf(&b, " %d@%s", v.label, time.UnixMilli(v.at).Format("15:04:05.000"))
	}
	if s.left {
		fmt.Fprintf(&b, ", and then moved it out of the window")
	}
	if s.last.version < 0 {
		b.WriteString("; the topic has nothing")
	} else {
		fmt.Fprintf(&b, "; the topic ends on %s", s.last)
	}
	return b.String()
}

// tell tells the histories of some of those that are owed something.
func (t *truth) tell(due []debt) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var told []string
	for _, d := range due[:min(len(due), 5)] {
		told = append(told, d.shift.history())
	}
	return strings.Join(told, "\n")
}
