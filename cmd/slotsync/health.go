package main

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// rivalPause is the longest that a worker waits after it was fenced while it held the lease.
const rivalPause = 10 * time.Minute

// health knows whether the worker is alive, whether it does its work, and what became of its last passes. It is alive
// while the next sign of life is not overdue: a pass may last for hours, but not without a word of the API, a batch or
// an end. It is ready if the last pass decided everything, not too long ago, and nothing that it needs is away, or if it
// stands by.
type health struct {
	wait     time.Duration // after a pass
	patience time.Duration // longest silence within a pass
	needs    *dependencies

	mu      sync.Mutex // guards all below
	tenure  tenure
	since   time.Time // when its state began
	sign    time.Time // the last sign of life
	due     time.Time // when the next one is overdue
	decided bool      // a pass has ended well since the worker became active
	fault   string    // why the worker is not ready, if it is known
	cause   cause     // of fault

	good     time.Time     // when a pass last decided everything
	goodTook time.Duration // how long that one took
	streak   time.Time     // when the first of the passes in a row ended that left nothing undone; zero: the last one did

	began time.Time // when the pass under way began; zero: not known
	next  time.Time // when the next one is to begin; zero: not known
	sofar shiftsync.Tally
	past  []endedPass // the newest last
	read  *endedPass  // the last that read the window to its end; nil: none since another worker had the lease
	aside []asideNote // the newest last
}

// condition is what is told of the worker's health.
type condition struct {
	State    string     `json:"state"`
	Since    time.Time  `json:"since"`
	Alive    bool       `json:"alive"`
	Ready    bool       `json:"ready"`
	Cause    cause      `json:"cause,omitempty"`  // what Reason is about
	Reason   string     `json:"reason,omitempty"` // why it is not alive or not ready; one line
	LastSign time.Time  `json:"last_sign"`
	LastPass *endedPass `json:"last_pass,omitempty"` // that had begun
}

// overview is all that is known of the worker at one moment.
type overview struct {
	condition
	InStep       bool         `json:"in_step"`                // the last pass left nothing undone, not too long ago
	InStepSince  time.Time    `json:"in_step_since,omitzero"` // when the first of such passes in a row ended
	LastInStep   time.Time    `json:"last_in_step,omitzero"`  // when the last such pass ended, of whichever worker
	behind       time.Time    // as LastInStep; before the first such pass, when somebody first had the lease
	Holder       string       `json:"holder,omitempty"`    // of the lease, if another worker is
	PassBegan    time.Time    `json:"pass_began,omitzero"` // of the pass under way
	PassFetched  int          `json:"pass_fetched"`        // of the pass under way, so far
	PassSent     int          `json:"pass_published"`      // of the pass under way, so far
	LastRead     *endedPass   `json:"last_read,omitempty"` // the last pass that read the window to its end
	NextPass     time.Time    `json:"next_pass,omitzero"`
	Dependencies []dependency `json:"dependencies"`
	SetAside     []asideNote  `json:"set_aside"` // the last ones, the newest first
	Now          time.Time    `json:"now"`

	collects bool // the last pass decided everything, so that what changes is kept though Kafka is away
}

func newHealth(cfg *config) *health {
	h := &health{wait: cfg.Sync.Wait, patience: patience(cfg), needs: newDependencies(), tenure: tenure{state: stateStarting}, since: time.Now()}
	h.alive(h.wait)
	return h
}

// patience is above the longest silence that can be within a pass: a wait for a turn at the API, for the bytes of its
// answer, and for the next attempt, which may be a minute away, as that at a login may be; or for the registry, Kafka and Redis one after the other,
// whose own limits together are below two minutes.
func patience(cfg *config) time.Duration {
	turn := time.Minute / time.Duration(cfg.WIW.Rate)
	return turn + 2*cfg.WIW.Timeout + 2*time.Minute
}

// stale is the age above which the last good pass is no reason to think that the worker does its work: there was time
// for some more, though they take twice as long as that one did.
func (h *health) stale() time.Duration { return 3*h.wait + h.patience + 2*h.goodTook }

// alive notes a sign of life, after which nothing has to be heard for a while and the usual patience.
func (h *health) alive(pause time.Duration) {
	h.sign = time.Now()
	h.due = h.sign.Add(pause + h.patience)
}

// enters notes how this worker stands to the lease from now on.
func (h *health) enters(t tenure) {
	if t.state == stateStandby {
		h.needs.rest()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive(0)
	if h.tenure.state != t.state {
		h.since = h.sign
	}
	if t.state == stateStarting {
		t.InStep, t.Never = h.tenure.InStep, h.tenure.Never // which a lost lease does not change
	}
	h.tenure = t
	h.decided, h.fault, h.cause, h.streak = false, "", "", time.Time{}
	h.began, h.next, h.sofar = time.Time{}, time.Time{}, shiftsync.Tally{}
	switch t.state {
	case stateActive:
		h.began = h.sign
	case stateStandby:
		h.read = nil // what another one reads is not known
	}
}

// reading notes that a pass begins to read.
func (h *health) reading() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive(0)
	h.began = h.passBegan(h.sign)
	if h.began.IsZero() {
		h.began = h.sign
	}
}

// progress notes that a pass goes on.
func (h *health) progress() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive(0)
}

// batch notes what a pass has done.
func (h *health) batch(t shiftsync.Tally) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alive(0)
	h.sofar.Add(t)
}

// setAside notes that a version of a shift was set aside.
func (h *health) setAside(id int64, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.aside = last(h.aside, asideNote{id, cut(oneLine(why)), shownTime(time.Now())}, keptAside)
}

// done notes the end of a pass; result is ok, pending or failed.
func (h *health) done(rep shiftsync.Report, result string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pause := h.wait
	if err != nil {
		pause = max(pause, time.Second)
	}
	rival := errors.Is(err, shiftsync.ErrFenced)
	if rival {
		pause = max(pause, rivalPause)
	}
	h.alive(pause)
	p := newEndedPass(rep, result, err, h.sign)
	h.past = last(h.past, p, keptPasses)
	if readWhole(rep, result, err) {
		h.read = &p
	}
	h.decided, h.fault, h.cause = result != resultFailed, "", ""
	if result == resultFailed || result == resultPending && p.Cause.stops() {
		h.fault, h.cause = p.Reason, p.Cause
	}
	if h.decided {
		h.good, h.goodTook = h.sign, rep.Took
	}
	switch {
	case result != resultOK:
		h.streak = time.Time{}
	case h.streak.IsZero():
		h.streak = h.sign
	}
	if result == resultOK {
		h.tenure.InStep, h.tenure.Never = h.sign, false
	}
	h.began, h.next, h.sofar = time.Time{}, h.sign.Add(pause), shiftsync.Tally{}
	if rival {
		h.next = time.Time{} // the pause grows from time to time
	}
}

// passBegan returns when the pass under way began, or a zero time if there is none.
func (h *health) passBegan(now time.Time) time.Time {
	if h.began.IsZero() && !h.next.IsZero() && !now.Before(h.next) {
		return h.next
	}
	return h.began
}

// condition returns how the worker is now.
func (h *health) condition() condition { return h.overview().condition }

// overview returns all that is known now.
func (h *health) overview() overview {
	needs := h.needs.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	o := overview{
		condition:    condition{State: h.tenure.state, Since: shownTime(h.since), LastSign: shownTime(h.sign)},
		LastInStep:   shownTime(h.tenure.lastInStep()),
		Holder:       h.tenure.Holder,
		behind:       shownTime(h.tenure.InStep),
		PassFetched:  h.sofar.Fetched,
		PassSent:     h.sofar.Published,
		LastRead:     h.read,
		Dependencies: needs,
		SetAside:     append([]asideNote{}, h.aside...),
		Now:          shownTime(now),
		collects:     h.decided,
	}
	slices.Reverse(o.SetAside)
	for _, p := range slices.Backward(h.past) {
		if p.ID != "" {
			o.LastPass = &p
			break
		}
	}
	h.judge(&o, now)
	o.InStep = h.tenure.state == stateActive && o.Alive && !h.streak.IsZero() && now.Sub(h.good) <= h.stale()
	if o.InStep {
		o.InStepSince = shownTime(h.streak)
	}
	if h.tenure.state != stateStandby {
		o.PassBegan = shownTime(h.passBegan(now))
		if o.PassBegan.IsZero() {
			o.NextPass = shownTime(h.next)
		}
	}
	return o
}

// judge tells whether the worker is alive and ready, and if not, why.
func (h *health) judge(o *overview, now time.Time) {
	o.Alive = !now.After(h.due)
	gone, missing := away(o.Dependencies)
	switch {
	case !o.Alive:
		o.Cause = causeSilence
		o.Reason = "no sign of life for " + now.Sub(h.sign).Round(time.Second).String() + ", " +
			h.due.Sub(h.sign).Round(time.Second).String() + " would be the longest"
	case h.fault != "":
		o.Cause, o.Reason = h.cause, h.fault
	case missing:
		o.Cause, o.Reason = gone.Cause, gone.Reason
	case h.tenure.state == stateStandby:
		o.Ready = true
	case !h.decided:
		o.Reason = "no pass has ended yet"
	case now.Sub(h.good) > h.stale():
		o.Cause = causeSilence
		o.Reason = "no pass has ended for " + now.Sub(h.good).Round(time.Second).String() + ", " +
			h.stale().Round(time.Second).String() + " would be the longest"
	default:
		o.Ready = true
	}
	for _, d := range o.Dependencies {
		if d.Cause == o.Cause && !strings.Contains(strings.ToLower(o.Reason), strings.ToLower(d.Name)) {
			o.Reason = d.Name + ": " + o.Reason
		}
	}
}

// passes returns what is kept of them, the newest first.
func (h *health) passes() []endedPass {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := append([]endedPass{}, h.past...) // a list in JSON, though it be empty
	slices.Reverse(kept)
	return kept
}

// shownTime is a time as people and scripts want to read it.
func shownTime(at time.Time) time.Time { return at.UTC().Truncate(time.Millisecond) }
