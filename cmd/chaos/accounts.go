//go:build linux

package main

import (
	"fmt"
	"sync"
	"time"
)

// accounts are what was sent in each pass, and how the pass ended. Nothing that did not change is sent again, save batches
// whose acknowledgement or remembering was lost: a record may be repeated only if the pass that sent it did not remember
// it. A pass that ends tells how many it has remembered. Of one that does not, since its worker died, those were not
// whose intents stand.
type accounts struct {
	mu      sync.Mutex // guards what follows
	passes  map[string]*account
	doubts  []time.Time // when a pass ended that had not done all, or a worker died
	stirred []span      // when something was done to the brokers
	repeats []*repeat   // not judged yet
	letters []*repeat   // that came again, not judged yet
	arrivals
	left    int // intents that stood when a worker died
	expired int // remembered shifts that were dropped
	judgement
}

// arrivals is what has been counted in the topics.
type arrivals struct{ records, tombstones, buried int }

// judgement is what came again, all of which was fair.
type judgement struct {
	repeated      int // records
	lettersAgain  int // dead letters
	repeatedTaken int // of repeated: those whose change was taken back before it could be published
}

type span struct{ from, to time.Time }

func newAccounts() *accounts { return &accounts{passes: map[string]*account{}} }

// account is one pass.
type account struct {
	records int // in the topic
	letters int
	repeats int     // of its records, in later passes
	report  *report // nil: its worker died, or it has not ended
}

// report is what a worker says of a pass that has ended.
type report struct {
	Pass      string `json:"pass"`
	Fetched   int    `json:"fetched"`
	Published int    `json:"published"` // acknowledged and remembered
	Pending   int    `json:"pending"`
	Unburied  int    `json:"dead_letters_pending"`

	result string
}

// done tells whether the pass did all that it had begun. What it only holds back it has not.
func (r *report) done() bool {
	return r.result == "ok" || r.result == "pending" && r.Pending == 0 && r.Unburied == 0
}

// repeat is a record that says what the one before it of its key says, or a dead letter of the same version.
type repeat struct {
	shift        *shift
	label        label
	first, again arrival
	forgotten    bool      // what was remembered of the shift was dropped between
	changed      time.Time // when it had changed between, to be taken back; zero: it had not
}

// of returns the account of a pass. The lock is held.
func (a *accounts) of(pass string) *account {
	if a.passes[pass] == nil {
		a.passes[pass] = &account{}
	}
	return a.passes[pass]
}

// record counts a record of the topic. It returns an error if the record may be no repeat whatever is told of its pass.
func (a *accounts) record(pass string, l label, again *repeat) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of(pass).records++
	a.records++
	if l == tombstone {
		a.tombstones++
	}
	if again == nil {
		return nil
	}
	if again.first.pass == again.again.pass && !again.forgotten {
		return again.broken("which is one pass")
	}
	a.repeats = append(a.repeats, again)
	return nil
}

// letter counts a dead letter.
func (a *accounts) letter(pass string, again *repeat) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of(pass).letters++
	a.buried++
	if again != nil {
		a.letters = append(a.letters, again)
	}
}

// ended notes what a worker says of a pass.
func (a *accounts) ended(r *report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of(r.Pass).report = r
	if !r.done() {
		a.doubts = append(a.doubts, time.Now())
	}
}

// died notes that a worker died and so many intents stood.
func (a *accounts) died(left int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left += left
	a.doubts = append(a.doubts, time.Now())
}

// dropped counts remembered shifts that were dropped.
func (a *accounts) dropped(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expired += n
}

// stir notes when something was done to the brokers, so that an answer of theirs may have been lost.
func (a *accounts) stir(s span) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stirred = append(a.stirred, s)
}

// arrived returns the counts so far.
func (a *accounts) arrived() arrivals {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.arrivals
}

// judged returns what came again and was judged so far.
func (a *accounts) judged() judgement {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.judgement
}

// fair returns how many records might have been repeated so far.
func (a *accounts) fair() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.left + a.expired + a.repeatedTaken
	for _, p := range a.passes {
		if p.report != nil && !p.report.done() {
			n += p.records - p.report.Published
		}
	}
	return n
}

// judge tells whether all that was repeated may have been. It is asked at rest, when every pass and death has been told of,
// by who tells of deaths.
func (a *accounts) judge() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for pass, p := range a.passes {
		if p.report != nil && p.report.Published > p.records {
			return violated("acknowledged is what is in the topic: pass %s calls %d records acknowledged, and %d are there", pass, p.report.Published, p.records)
		}
	}
	for _, r := range a.repeats {
		if why := a.unfair(r); why != "" {
			return r.broken(why)
		}
		a.repeated++
	}
	for _, r := range a.letters {
		if why := a.unfairLetter(r); why != "" {
			return violated("a bad version has one dead letter: %d/%d of pass %s is of the same as %d/%d of pass %s, %s; shift %d, version %s",
				r.again.partition, r.again.offset, r.again.pass, r.first.partition, r.first.offset, r.first.pass, why, r.shift.base.ID, r.label)
		}
		a.lettersAgain++
	}
	a.repeats, a.letters = nil, nil
	return nil
}

func (r *repeat) broken(why string) error {
	return violated("nothing that did not change is sent again: record %d/%d of pass %s says what %d/%d of pass %s said, %s; shift %d, version %s",
		r.again.partition, r.again.offset, r.again.pass, r.first.partition, r.first.offset, r.first.pass, why, r.shift.base.ID, r.label)
}

// unfair tells why a record must not have been repeated; empty: it may. The lock is held.
func (a *accounts) unfair(r *repeat) string {
	first := a.of(r.first.pass)
	switch {
	case r.forgotten:
		return ""
	case !r.changed.IsZero() && a.doubted(r.changed, r.again.at):
		a.repeatedTaken++
		return ""
	case first.report != nil:
		if first.repeats++; first.repeats > first.records-first.report.Published {
			return fmt.Sprintf("which had sent %d and remembered %d", first.records, first.report.Published)
		}
		return ""
	case r.shift.adrift.between(r.first.at, r.again.at):
		return ""
	}
	return "whose worker died after it was remembered"
}

// doubted tells whether a pass left something undone, or a worker died, between two times. The lock is held.
func (a *accounts) doubted(from, to time.Time) bool {
	for _, at := range a.doubts {
		if at.After(from) && !at.After(to) {
			return true
		}
	}
	return false
}

// unfairLetter does the same for a dead letter. One whose answer is lost comes twice in its pass. The lock is held.
func (a *accounts) unfairLetter(r *repeat) string {
	first := a.of(r.first.pass)
	switch {
	case r.first.pass == r.again.pass:
		for _, s := range a.stirred {
			if !r.again.at.Before(s.from) && !r.again.at.After(s.to) {
				return ""
			}
		}
		return "which is one pass, while all was well with the brokers"
	case first.report != nil && first.report.done():
		return "which had done all"
	}
	return ""
}
