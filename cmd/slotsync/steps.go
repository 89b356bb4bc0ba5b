package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// Steps that are measured and traced, each at the dependency that it needs.
const (
	stepLook     = "look"     // at the topic
	stepPrepare  = "prepare"  // the schemas
	stepBegin    = "begin"    // an epoch
	stepClaim    = "claim"    // open intents
	stepOpen     = "open"     // read open intents
	stepRead     = "read"     // the window, all of it
	stepReadOne  = "read_one" // shift
	stepLookup   = "lookup"
	stepRefresh  = "refresh"
	stepIntend   = "intend"
	stepPublish  = "publish"
	stepRemember = "remember"
	stepBury     = "bury" // dead letters
	stepRoll     = "roll" // who is missing
	stepWanted   = "wanted"
	stepDoubt    = "doubt"
	stepLayout   = "layout" // and the acknowledged offsets
	stepSweep    = "sweep"
	stepLease    = "lease" // acquire, renew, release
)

// steps are all of them.
func steps() []string {
	return []string{stepLook, stepPrepare, stepBegin, stepClaim, stepOpen, stepRead, stepReadOne, stepLookup, stepRefresh, stepIntend,
		stepPublish, stepRemember, stepBury, stepRoll, stepWanted, stepDoubt, stepLayout, stepSweep, stepLease}
}

// watchPorts puts between the worker and its ports what measures and traces their steps, marks their errors, and notes
// how the dependencies behind them fare. Redis is listened to where it is asked, since the page asks it too.
func watchPorts(w *shiftsync.Worker, registry *publish.Registry, needs *dependencies, stats *metrics, spans *traces) {
	to := func(with cause) port { return port{with, needs, stats, spans} }
	w.Source = watchedSource{w.Source, to(causeAPI)}
	w.Encoder = watchedEncoder{w.Encoder, to(causeRegistry), registry}
	w.Publisher = watchedPublisher{w.Publisher, to(causeKafka)}
	w.Store = watchedStore{w.Store, to(causeRedis)}
	if w.DeadLetters != nil {
		w.DeadLetters = watchedLetters{w.DeadLetters, to(causeLetters)}
	}
	w.Observer = tracedObserver{w.Observer, spans}
}

// port is the way to a dependency, as it is watched.
type port struct {
	with  cause // trouble there is marked with
	needs *dependencies
	stats *metrics
	spans *traces
}

// begin begins a step with so many shifts, or 0 if that is not known. What it returns ends the step and marks its error.
func (p port) begin(step string, shifts int) (end func(error) error) {
	began := time.Now()
	span, answered := p.spans.begin(step, shifts), p.needs.begin(p.with, step)
	return func(err error) error {
		answered()
		p.stats.step(step, time.Since(began), err)
		err = met(p.with, err)
		span.end(err)
		return err
	}
}

// fares notes how the dependency fares, by an error that it gave or did not give, and returns that error.
func (p port) fares(err error) error {
	p.needs.note(p.with, err)
	return err
}

type watchedSource struct {
	shiftsync.Source
	port
}

// Read is measured from its first request to the last shift that was handed on, waits for the stages behind included.
func (s watchedSource) Read(ctx context.Context, w shiftsync.Window, add func(int64, uint64, []byte) error) error {
	end := s.begin(stepRead, 0)
	var refused error // by add, of which the API knows nothing; nor does it of the end of ctx
	err := s.Source.Read(ctx, w, func(id int64, hash uint64, raw []byte) error {
		refused = add(id, hash, raw)
		return refused
	})
	if refused != nil || ctx.Err() != nil {
		_ = end(nil)
		return err
	}
	return end(s.fares(err))
}

// ReadOne tells nothing of how the API fares: it may have trouble with a single shift.
func (s watchedSource) ReadOne(ctx context.Context, id int64, add func(int64, uint64, []byte) error) error {
	end := s.begin(stepReadOne, 1)
	err := s.Source.ReadOne(ctx, id, add)
	if errors.Is(err, shiftsync.ErrNoShift) || errors.Is(err, shiftsync.ErrNotShown) {
		_ = end(nil) // an answer like another
		return err
	}
	return end(err)
}

type watchedEncoder struct {
	shiftsync.Encoder
	port
	registry *publish.Registry
}

// Prepare does not ask the registry each time, and while it does not answer the schemas that are known stay in use.
func (e watchedEncoder) Prepare(ctx context.Context, anew bool) (shiftsync.Schemas, error) {
	end := e.begin(stepPrepare, 0)
	schemas, err := e.Encoder.Prepare(ctx, anew)
	answered, silence := e.registry.Answered()
	_ = e.fares(cmp.Or(err, silence))
	e.needs.heard(e.with, answered)
	return schemas, end(err)
}

type watchedPublisher struct {
	shiftsync.Publisher
	port
}

// Topic is what a pass begins with.
func (p watchedPublisher) Topic(ctx context.Context) (shiftsync.Topic, error) {
	p.spans.beginPass()
	end := p.begin(stepLook, 0)
	topic, err := p.Publisher.Topic(ctx)
	return topic, end(p.fares(err))
}

func (p watchedPublisher) Begin(ctx context.Context, takeover bool) error {
	p.spans.beginSettling()
	end := p.begin(stepBegin, 0)
	return end(p.fares(p.Publisher.Begin(ctx, takeover)))
}

// Renew is not measured: most of the time there is nothing to renew and nobody is asked, so that its success tells nothing.
func (p watchedPublisher) Renew(ctx context.Context) error {
	err := p.Publisher.Renew(ctx)
	if err != nil {
		_ = p.fares(err)
	}
	return met(p.with, err)
}

func (p watchedPublisher) Publish(ctx context.Context, hold shiftsync.Hold, pass string, records []shiftsync.Record) ([]shiftsync.Outcome, error) {
	end := p.begin(stepPublish, len(records))
	outcomes, err := p.Publisher.Publish(ctx, hold, pass, records)
	p.stats.outcomes(records, outcomes, time.Now())
	return outcomes, end(p.fares(err))
}

type watchedLetters struct {
	shiftsync.DeadLetters
	port
}

func (l watchedLetters) Bury(ctx context.Context, hold shiftsync.Hold, letters []shiftsync.DeadLetter) ([]bool, error) {
	end := l.begin(stepBury, len(letters))
	buried, err := l.DeadLetters.Bury(ctx, hold, letters)
	return buried, end(err)
}
