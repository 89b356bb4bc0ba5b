package main

import (
	"context"
	"errors"
	"time"

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

// Dependencies, by which trouble is told apart.
const (
	atAPI      = "api"
	atRedis    = "redis"
	atKafka    = "kafka"
	atRegistry = "registry"
)

// metAt is an error that a dependency gave. It reads as it did.
type metAt struct {
	error
	dependency string
}

func (e *metAt) Unwrap() error { return e.error }

// met marks an error, if it is one, as that of a dependency.
func met(dependency string, err error) error {
	if err == nil {
		return nil
	}
	return &metAt{err, dependency}
}

// Reasons for trouble beside the dependencies.
const (
	reasonNoTopic      = "no_topic"
	reasonOtherCluster = "other_cluster"
	reasonFenced       = "fenced"
	reasonLeaseLost    = "lease_lost"
	reasonLayout       = "layout"
	reasonPendingLimit = "pending_limit"
	reasonBadShifts    = "bad_shifts"
	reasonLeftOver     = "left_over" // to the next pass, and nothing was in the way
	reasonOther        = "other"
)

// reasons are all that reasonTag returns.
func reasons() []string {
	return []string{atAPI, atRedis, atKafka, atRegistry, reasonNoTopic, reasonOtherCluster, reasonFenced, reasonLeaseLost, reasonLayout,
		reasonPendingLimit, reasonBadShifts, reasonLeftOver, reasonOther}
}

// reasonTag says in a word why a pass ended in trouble.
func reasonTag(err error) string {
	var layout *shiftsync.LayoutError
	var at *metAt
	switch {
	case errors.Is(err, shiftsync.ErrFenced):
		return reasonFenced
	case errors.Is(err, shiftsync.ErrLeaseLost):
		return reasonLeaseLost
	case errors.Is(err, shiftsync.ErrOtherCluster):
		return reasonOtherCluster
	case errors.Is(err, shiftsync.ErrNoTopic):
		return reasonNoTopic
	case errors.As(err, &layout):
		return reasonLayout
	case errors.Is(err, shiftsync.ErrPendingLimit):
		return reasonPendingLimit
	case errors.Is(err, shiftsync.ErrTooManyBad):
		return reasonBadShifts
	case errors.As(err, &at):
		return at.dependency
	case err == nil, errors.Is(err, shiftsync.ErrPending):
		return reasonLeftOver
	default:
		return reasonOther
	}
}

// watchPorts puts between the worker and its ports what measures and traces their steps.
func watchPorts(w *shiftsync.Worker, stats *metrics, spans *traces) {
	p := ports{stats, spans}
	w.Source = watchedSource{w.Source, p}
	w.Encoder = watchedEncoder{w.Encoder, p}
	w.Publisher = watchedPublisher{w.Publisher, p}
	w.Store = watchedStore{w.Store, p}
	if w.DeadLetters != nil {
		w.DeadLetters = watchedLetters{w.DeadLetters, p}
	}
	w.Observer = tracedObserver{w.Observer, spans}
}

// ports is what the watched ports share.
type ports struct {
	stats *metrics
	spans *traces
}

// begin begins a step with so many shifts, or 0 if that is not known. What it returns ends the step and marks its error.
func (p ports) begin(dependency, step string, shifts int) func(error) error {
	began := time.Now()
	span := p.spans.begin(step, shifts)
	return func(err error) error {
		p.stats.step(step, time.Since(began), err)
		err = met(dependency, err)
		span.end(err)
		return err
	}
}

type watchedSource struct {
	shiftsync.Source
	ports
}

// Read is measured from its first request to the last shift that was handed on, waits for the stages behind included.
func (s watchedSource) Read(ctx context.Context, w shiftsync.Window, add func(int64, uint64, []byte) error) error {
	end := s.begin(atAPI, stepRead, 0)
	var refused error // by add, of which the API knows nothing
	err := s.Source.Read(ctx, w, func(id int64, hash uint64, raw []byte) error {
		refused = add(id, hash, raw)
		return refused
	})
	if refused != nil {
		_ = end(nil)
		return err
	}
	return end(err)
}

func (s watchedSource) ReadOne(ctx context.Context, id int64, add func(int64, uint64, []byte) error) error {
	end := s.begin(atAPI, stepReadOne, 1)
	err := s.Source.ReadOne(ctx, id, add)
	if errors.Is(err, shiftsync.ErrNoShift) || errors.Is(err, shiftsync.ErrNotShown) {
		_ = end(nil) // an answer like another
		return err
	}
	return end(err)
}

type watchedEncoder struct {
	shiftsync.Encoder
	ports
}

func (e watchedEncoder) Prepare(ctx context.Context, anew bool) (shiftsync.Schemas, error) {
	end := e.begin(atRegistry, stepPrepare, 0)
	schemas, err := e.Encoder.Prepare(ctx, anew)
	return schemas, end(err)
}

type watchedPublisher struct {
	shiftsync.Publisher
	ports
}

// Topic is what a pass begins with.
func (p watchedPublisher) Topic(ctx context.Context) (shiftsync.Topic, error) {
	p.spans.beginPass()
	end := p.begin(atKafka, stepLook, 0)
	topic, err := p.Publisher.Topic(ctx)
	return topic, end(err)
}

func (p watchedPublisher) Begin(ctx context.Context, takeover bool) error {
	p.spans.beginSettling()
	end := p.begin(atKafka, stepBegin, 0)
	return end(p.Publisher.Begin(ctx, takeover))
}

// Renew is not measured: most of the time there is nothing to renew, and nobody is asked.
func (p watchedPublisher) Renew(ctx context.Context) error {
	return met(atKafka, p.Publisher.Renew(ctx))
}

func (p watchedPublisher) Publish(ctx context.Context, hold shiftsync.Hold, pass string, records []shiftsync.Record) ([]shiftsync.Outcome, error) {
	end := p.begin(atKafka, stepPublish, len(records))
	outcomes, err := p.Publisher.Publish(ctx, hold, pass, records)
	p.stats.outcomes(records, outcomes, time.Now())
	return outcomes, end(err)
}

type watchedLetters struct {
	shiftsync.DeadLetters
	ports
}

func (l watchedLetters) Bury(ctx context.Context, hold shiftsync.Hold, letters []shiftsync.DeadLetter) ([]bool, error) {
	end := l.begin(atKafka, stepBury, len(letters))
	buried, err := l.DeadLetters.Bury(ctx, hold, letters)
	return buried, end(err)
}
