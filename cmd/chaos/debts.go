//go:build linux

package main

import (
	"strings"
	"time"
)

// debt is a version that has to arrive, or one from later, unless what they say is in the topic already.
type debt struct {
	shift   *shift
	version int
}

// due is the newest version of the shift that has to arrive; -1: none has.
func (t *truth) due(s *shift) int {
	newest := len(s.versions) - 1
	switch k := s.kind(); {
	case k.shown():
		return newest
	case s.veiled, s.forgotten.between(s.last.at, time.Now()), t.deletes == deletesOff, k == gone && t.deletes == deletesUpdate:
		return s.owed
	case s.last.version < 0 && s.owed < 0:
		return -1 // a shift that was never seen is not missed
	}
	return newest
}

// soon is the newest version that has to arrive before anybody asks what became of the shift; -1: none has.
func (t *truth) soon(s *shift) int {
	if s.kind().shown() {
		return t.due(s)
	}
	return s.owed
}

// debts are all versions that have yet to arrive, as due or soon tells.
func (t *truth) debts(newest func(*shift) int) []debt {
	t.mu.Lock()
	defer t.mu.Unlock()
	var due []debt
	for _, s := range t.all {
		if d := (debt{s, newest(s)}); !t.paid(d) {
			due = append(due, d)
		}
	}
	return due
}

// remaining returns those debts that have still to be paid.
func (t *truth) remaining(due []debt, newest func(*shift) int) []debt {
	t.mu.Lock()
	defer t.mu.Unlock()
	var left []debt
	for _, d := range due {
		d.version = min(d.version, newest(d.shift)) // it may have left before it was seen
		if !t.paid(d) {
			left = append(left, d)
		}
	}
	return left
}

// paid tells whether the topic's last record of the shift says what the API has said since that version. What cannot be
// published is paid with a dead letter, and may be replaced before that; what came before it need not have been seen.
func (t *truth) paid(d debt) bool {
	s := d.shift
	if d.version < 0 || s.last.version >= d.version {
		return true
	}
	switch l := s.versions[d.version].label; {
	case l.kind().bad():
		return s.lettered == l || len(s.versions) > d.version+1
	case s.kind().bad():
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
		if d.version == len(d.shift.versions)-1 && intended[d.shift.base.ID] != newest && d.shift.kind() == listed {
			unseen = append(unseen, d)
		}
	}
	return unseen
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
