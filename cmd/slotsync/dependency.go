package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// cause is what trouble comes from, in a word that scripts may branch on.
type cause string

// The first four are what a worker cannot do without.
const (
	causeAPI      cause = "when_i_work"
	causeRedis    cause = "redis"
	causeKafka    cause = "kafka"
	causeRegistry cause = "schema_registry"
	causeLease    cause = "lease"         // lost while at work
	causeRival    cause = "rival"         // another worker with the same transactional id and another Redis
	causeLayout   cause = "layout"        // the topic or the account is not what it was
	causeLimit    cause = "pending_limit" // nothing new is collected
	causeBad      cause = "bad_shifts"    // too many of them
	causeSilence  cause = "silence"       // a pass hangs
	causeOther    cause = "other"
)

// causeOf returns what an error that a pass ended with comes from, or "" if there is none.
func causeOf(err error) cause {
	var of *troubleWith
	var layout *shiftsync.LayoutError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, shiftsync.ErrFenced):
		return causeRival
	case errors.As(err, &layout):
		return causeLayout
	case errors.Is(err, shiftsync.ErrTooManyBad):
		return causeBad
	case errors.As(err, &of):
		return of.cause
	case errors.Is(err, cache.ErrRedis):
		return causeRedis
	case errors.Is(err, shiftsync.ErrLeaseLost):
		return causeLease
	case errors.Is(err, shiftsync.ErrPendingLimit):
		return causeLimit
	default:
		return causeOther
	}
}

// troubleWith is an error of a dependency.
type troubleWith struct {
	cause cause
	err   error
}

func (e *troubleWith) Error() string { return e.err.Error() }
func (e *troubleWith) Unwrap() error { return e.err }

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

// note notes that the dependency did what it was asked for, or why not. It returns the error, marked as one of that
// dependency, unless it is about something else: a stop, the lease, or a newer worker.
func (d *dependencies) note(c cause, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, shiftsync.ErrLeaseLost) || errors.Is(err, shiftsync.ErrFenced) {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	it := d.of(c)
	if err == nil {
		it.Heard, it.Since, it.Reason = shownTime(time.Now()), time.Time{}, ""
		return nil
	}
	if it.Since.IsZero() {
		it.Since = shownTime(time.Now())
	}
	it.Reason = reasonOf(err)
	return &troubleWith{c, err}
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

// around makes the worker's adapters tell how they fare. Redis is listened to where it is asked, since the page asks it too.
func (d *dependencies) around(w *shiftsync.Worker, registry *publish.Registry) {
	w.Source = notedSource{w.Source, d}
	w.Encoder = notedEncoder{w.Encoder, registry, d}
	w.Publisher = notedPublisher{w.Publisher, d}
}

// notedSource tells how the API fares.
type notedSource struct {
	shiftsync.Source
	d *dependencies
}

func (s notedSource) Read(ctx context.Context, w shiftsync.Window, add func(id int64, hash uint64, raw []byte) error) error {
	err := s.Source.Read(ctx, w, add)
	if ctx.Err() != nil {
		return err // what ended the reading came from elsewhere
	}
	return s.d.note(causeAPI, err)
}

// notedEncoder tells how the registry fares, which the encoder does not ask each time.
type notedEncoder struct {
	shiftsync.Encoder
	registry *publish.Registry
	d        *dependencies
}

func (e notedEncoder) Prepare(ctx context.Context, anew bool) (shiftsync.Schemas, error) {
	found, err := e.Encoder.Prepare(ctx, anew)
	at, silence := e.registry.Answered()
	switch {
	case err != nil:
		err = e.d.note(causeRegistry, err)
	case silence != nil:
		_ = e.d.note(causeRegistry, silence) // the schemas that are known stay in use
	default:
		_ = e.d.note(causeRegistry, nil)
	}
	e.d.heard(causeRegistry, at)
	return found, err
}

// notedPublisher tells how Kafka fares. Renew as a rule asks nobody, so that its success tells nothing.
type notedPublisher struct {
	shiftsync.Publisher
	d *dependencies
}

func (p notedPublisher) Topic(ctx context.Context) (shiftsync.Topic, error) {
	topic, err := p.Publisher.Topic(ctx)
	return topic, p.d.note(causeKafka, err)
}

func (p notedPublisher) Begin(ctx context.Context, takeover bool) error {
	return p.d.note(causeKafka, p.Publisher.Begin(ctx, takeover))
}

func (p notedPublisher) Renew(ctx context.Context) error {
	if err := p.Publisher.Renew(ctx); err != nil {
		return p.d.note(causeKafka, err)
	}
	return nil
}

func (p notedPublisher) Publish(ctx context.Context, hold shiftsync.Hold, pass string, records []shiftsync.Record) ([]shiftsync.Outcome, error) {
	outcomes, err := p.Publisher.Publish(ctx, hold, pass, records)
	return outcomes, p.d.note(causeKafka, err)
}
