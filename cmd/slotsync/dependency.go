package main

import (
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
}

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
	mu  sync.Mutex // guards what follows
	all []dependency
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

// heard notes a word of the dependency, which may be a no.
func (d *dependencies) heard(c cause, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of(c).Heard = shownTime(at)
}

// note notes that the dependency did what it was asked for, or why not.
func (d *dependencies) note(c cause, err error) {
	if nobodys(err) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	it := d.of(c)
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
			d.all[i].Since, d.all[i].Reason = time.Time{}, ""
		}
	}
}

// now returns a copy.
func (d *dependencies) now() []dependency {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]dependency(nil), d.all...)
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
