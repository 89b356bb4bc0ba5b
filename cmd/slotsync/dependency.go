package main

import (
	"slices"
	"sync"
	"time"
)

// dependency is something that a worker cannot do without, as it was when it was last asked.
type dependency struct {
	Cause  cause     `json:"cause"`
	Name   string    `json:"name"`
	Heard  time.Time `json:"heard,omitzero"`      // when it last answered
	Since  time.Time `json:"away_since,omitzero"` // when it was first found to be away; zero: it is not
	Reason string    `json:"reason,omitempty"`    // why it is taken to be away; one line
	Asked  []request `json:"asked,omitempty"`     // steps that wait for it now, the oldest first

	falters bool      // it is away for an attempt that is followed by another, which may go well
	waiting time.Time // since when a byte of it is being waited for; zero: none is
}

// request is a step that has begun and not ended.
type request struct {
	Step  string    `json:"step"`
	Since time.Time `json:"since"`
}

// longRequest is when a person is told of a step that has not ended.
const longRequest = 3 * time.Second

// Long are the steps that wait for long at that moment.
func (d dependency) Long(now time.Time) (long []request) {
	for _, r := range d.Asked {
		if now.Sub(r.Since) >= longRequest {
			long = append(long, r)
		}
	}
	return long
}

// longestAnswer is how long one may wait for a byte before the dependency is taken to be away. The attempt goes on.
const longestAnswer = 10 * time.Second

// Kind is the mark that the page has for it.
func (d dependency) Kind() string {
	switch {
	case !d.Since.IsZero():
		return "bad"
	case d.Heard.IsZero():
		return "starting"
	}
	return "ok"
}

// dependencies are all there are. A worker does not ask each of them all the time.
type dependencies struct {
	mu   sync.Mutex // guards what follows
	all  []dependency
	asks []ask // the oldest first
}

// ask is a request, and of whom.
type ask struct {
	of cause
	*request
}

func newDependencies() *dependencies {
	return &dependencies{all: []dependency{
		{Cause: causeAPI, Name: "When I Work"},
		{Cause: causeRedis, Name: "Redis"},
		{Cause: causeKafka, Name: "Kafka"},
		{Cause: causeRegistry, Name: "Schema registry"},
	}}
}

func (d *dependencies) of(c cause) *dependency {
	for i := range d.all {
		if d.all[i].Cause == c {
			return &d.all[i]
		}
	}
	panic("a cause that is no dependency")
}

// begin notes that a step of the dependency has begun. What it returns notes the end.
func (d *dependencies) begin(c cause, step string) (end func()) {
	if c == causeLetters {
		c = causeKafka // which takes them, too
	}
	r := &request{step, shownTime(time.Now())}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asks = append(d.asks, ask{c, r})
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asks = slices.DeleteFunc(d.asks, func(a ask) bool { return a.request == r })
	}
}

// heard notes a word of the dependency, which may be a no.
func (d *dependencies) heard(c cause, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of(c).Heard = shownTime(at)
}

// waits notes that a byte of the API is being waited for, or is no longer.
func (d *dependencies) waits(begins bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	it := d.of(causeAPI)
	it.waiting = time.Time{}
	if begins {
		it.waiting = time.Now()
	}
}

// retries notes that an attempt went wrong and that there will be another, which recovers from it.
func (d *dependencies) retries(c cause, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if it := d.of(c); it.Since.IsZero() {
		it.Since, it.Reason, it.falters = shownTime(time.Now()), reasonOf(err), true
	}
}

// recovers notes that an attempt goes well. Trouble of a whole request it does not end: the next one may fail as well, for
// what stands in its answer.
func (d *dependencies) recovers(c cause) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if it := d.of(c); it.falters {
		it.Since, it.Reason, it.falters = time.Time{}, "", false
	}
}

// note notes that the dependency did what it was asked for, or why not.
func (d *dependencies) note(c cause, err error) {
	if nobodys(err) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	it := d.of(c)
	it.falters = false
	if err == nil {
		it.Heard, it.Since, it.Reason = shownTime(time.Now()), time.Time{}, ""
		return
	}
	if it.Since.IsZero() {
		it.Since = shownTime(time.Now())
	}
	it.Reason = reasonOf(err)
}

// answers tells whether the dependency has answered and is not away.
func (d *dependencies) answers(c cause) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	it := d.of(c)
	return !it.Heard.IsZero() && it.Since.IsZero()
}

// rest forgets the trouble of those that a standby does not ask.
func (d *dependencies) rest() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.all {
		if d.all[i].Cause != causeRedis {
			d.all[i].Since, d.all[i].Reason, d.all[i].falters = time.Time{}, "", false
		}
	}
}

// now returns a copy. One of which nothing is heard for too long is away in it.
func (d *dependencies) now() []dependency {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := append([]dependency(nil), d.all...)
	for i := range all {
		it := &all[i]
		if silent := time.Since(it.waiting); it.Since.IsZero() && !it.waiting.IsZero() && silent >= longestAnswer {
			it.Since = shownTime(it.waiting)
			it.Reason = "asked " + roughly(silent) + " ago, no answer"
		}
	}
	for _, a := range d.asks {
		for i := range all {
			if all[i].Cause == a.of {
				all[i].Asked = append(all[i].Asked, *a.request)
			}
		}
	}
	return all
}

// away returns one that is away and without which no pass does all it should. A registry that is away does no harm once
// the schemas are known: a pass that needs it fails.
func away(all []dependency) (dependency, bool) {
	for _, d := range all {
		if !d.Since.IsZero() && d.Cause != causeRegistry {
			return d, true
		}
	}
	return dependency{}, false
}
