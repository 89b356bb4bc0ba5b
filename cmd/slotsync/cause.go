package main

import (
	"context"
	"errors"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// cause is what trouble comes from, in a word: the same one on the page, in the log, as the tag reason of metrics and in
// traces. Scripts and monitors branch on it.
type cause string

const (
	causeAPI      cause = "api"
	causeRedis    cause = "redis"
	causeKafka    cause = "kafka"
	causeRegistry cause = "registry"
	causeLetters  cause = "dead_letters"  // do not arrive; all else does
	causeNoTopic  cause = "no_topic"      // there is none of that name
	causeCluster  cause = "other_cluster" // the brokers are those of another one
	causeFenced   cause = "fenced"        // by another worker with the same transactional id and another Redis
	causeLease    cause = "lease_lost"    // while at work
	causeLayout   cause = "layout"        // the topic or the account is not what it was
	causeLimit    cause = "pending_limit" // nothing new is collected
	causeBad      cause = "bad_shifts"    // too many of them
	causeLeftOver cause = "left_over"     // to the next pass, and nothing was in the way
	causeSilence  cause = "silence"       // a pass hangs; none ends with it
	causeOther    cause = "other"
)

// causes are all that a pass can end with.
func causes() []cause {
	return []cause{causeAPI, causeRedis, causeKafka, causeRegistry, causeLetters, causeNoTopic, causeCluster, causeFenced, causeLease,
		causeLayout, causeLimit, causeBad, causeLeftOver, causeOther}
}

// causeOf tells why a pass did not do all it should, or why a step went wrong. What a dependency said comes before what
// came of it, such as a limit that was reached or a lease that was lost.
func causeOf(err error) cause {
	var layout *shiftsync.LayoutError
	var of *troubleWith
	switch {
	case errors.Is(err, shiftsync.ErrFenced):
		return causeFenced
	case errors.As(err, &layout):
		return causeLayout
	case errors.Is(err, shiftsync.ErrTooManyBad):
		return causeBad
	case errors.As(err, &of):
		return of.cause
	case errors.Is(err, shiftsync.ErrLeaseLost):
		return causeLease
	case errors.Is(err, shiftsync.ErrPendingLimit):
		return causeLimit
	case err == nil, errors.Is(err, shiftsync.ErrPending):
		return causeLeftOver
	default:
		return causeOther
	}
}

// stops tells whether the next change has to wait while the trouble lasts, though the last pass decided everything.
func (c cause) stops() bool { return c != causeLeftOver && c != causeLetters }

// troubleWith is an error of a dependency. It reads as the error does.
type troubleWith struct {
	cause cause
	error
}

func (e *troubleWith) Unwrap() error { return e.error }

// met marks an error, if it is one, as that of a dependency. Kafka is not away when it says that it has no such topic.
func met(with cause, err error) error {
	switch {
	case err == nil, nobodys(err):
		return err
	case with == causeKafka && errors.Is(err, shiftsync.ErrNoTopic):
		with = causeNoTopic
	case with == causeKafka && errors.Is(err, shiftsync.ErrOtherCluster):
		with = causeCluster
	}
	return &troubleWith{with, err}
}

// nobodys tells of a stop, of a lease that was lost and of a newer worker: no dependency is at fault.
func nobodys(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, shiftsync.ErrLeaseLost) || errors.Is(err, shiftsync.ErrFenced)
}
