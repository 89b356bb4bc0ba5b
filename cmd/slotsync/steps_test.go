package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// aSource hands on one shift, and then ends with an error of its own, if it has one.
type aSource struct {
	shiftsync.Source
	err error
}

func (s aSource) Read(_ context.Context, _ shiftsync.Window, add func(int64, uint64, []byte) error) error {
	return errors.Join(add(1, 1, nil), s.err)
}

func (s aSource) ReadOne(context.Context, int64, func(int64, uint64, []byte) error) error {
	return s.err
}

// aStore answers that the lease is lost, or what it is told to.
type aStore struct {
	shiftsync.Store
	err error
}

func (s aStore) Lookup(context.Context, []shiftsync.Sighting, []shiftsync.Known) error { return s.err }

// aBroker fails in all it is asked for.
type aBroker struct {
	shiftsync.Publisher
	err error
}

func (b aBroker) Topic(context.Context) (shiftsync.Topic, error) { return shiftsync.Topic{}, b.err }
func (b aBroker) Begin(context.Context, bool) error              { return b.err }
func (b aBroker) Renew(context.Context) error                    { return b.err }
func (b aBroker) Publish(context.Context, shiftsync.Hold, string, []shiftsync.Record) ([]shiftsync.Outcome, error) {
	return nil, b.err
}
func (b aBroker) Bury(context.Context, shiftsync.Hold, []shiftsync.DeadLetter) ([]bool, error) {
	return nil, b.err
}

func TestAFaultIsThatOfWhoHasIt(t *testing.T) {
	errAPI, errAway := errors.New("502 Bad Gateway"), errors.New("kafka: no broker")
	taken := func(int64, uint64, []byte) error { return nil }
	for _, c := range []struct {
		claim  string
		do     func(p func(cause) port) error
		reason cause
		errs   int64 // that are counted
		away   cause // what health takes to be away; Redis tells it elsewhere
	}{
		{"the API's", func(p func(cause) port) error {
			return watchedSource{aSource{err: errAPI}, p(causeAPI)}.Read(t.Context(), shiftsync.Window{}, taken)
		}, causeAPI, 1, causeAPI},
		{"a later stage's, which ends the reading", func(p func(cause) port) error {
			stage := met(causeRedis, errRedis)
			return watchedSource{aSource{}, p(causeAPI)}.Read(t.Context(), shiftsync.Window{}, func(int64, uint64, []byte) error { return stage })
		}, causeRedis, 0, ""},
		{"nobody's: there is no such shift", func(p func(cause) port) error {
			return watchedSource{aSource{err: shiftsync.ErrNoShift}, p(causeAPI)}.ReadOne(t.Context(), 1, taken)
		}, causeOther, 0, ""},
		{"Redis'", func(p func(cause) port) error {
			return watchedStore{aStore{err: errRedis}, p(causeRedis)}.Lookup(t.Context(), nil, nil)
		}, causeRedis, 1, ""},
		{"nobody's: the lease is lost", func(p func(cause) port) error {
			return watchedStore{aStore{err: shiftsync.ErrLeaseLost}, p(causeRedis)}.Lookup(t.Context(), nil, nil)
		}, causeLease, 0, ""},
		{"the API's, with a single shift", func(p func(cause) port) error {
			return watchedSource{aSource{err: errAPI}, p(causeAPI)}.ReadOne(t.Context(), 1, taken)
		}, causeAPI, 1, ""},
		{"Kafka's, about the topic", func(p func(cause) port) error {
			_, err := watchedPublisher{aBroker{err: errAway}, p(causeKafka)}.Topic(t.Context())
			return err
		}, causeKafka, 1, causeKafka},
		{"Kafka's, about the epoch", func(p func(cause) port) error {
			return watchedPublisher{aBroker{err: errAway}, p(causeKafka)}.Begin(t.Context(), true)
		}, causeKafka, 1, causeKafka},
		{"Kafka's, about records", func(p func(cause) port) error {
			_, err := watchedPublisher{aBroker{err: errAway}, p(causeKafka)}.Publish(t.Context(), nil, "p1", nil)
			return err
		}, causeKafka, 1, causeKafka},
		{"that of where dead letters go, which is not needed", func(p func(cause) port) error {
			_, err := watchedLetters{aBroker{err: errAway}, p(causeLetters)}.Bury(t.Context(), nil, make([]shiftsync.DeadLetter, 1))
			return err
		}, causeLetters, 1, ""},
	} {
		t.Run(c.claim, func(t *testing.T) {
			m, r := recording(t)
			needs := newDependencies()
			err := c.do(func(with cause) port { return port{with: with, needs: needs, stats: m} })
			if err == nil || causeOf(err) != c.reason {
				t.Errorf("got %v for the reason %s, want %s", err, causeOf(err), c.reason)
			}
			if it, _ := away(needs.now()); it.Cause != c.away {
				t.Errorf("%q is taken to be away, want %q", it.Cause, c.away)
			}
			if got := r.sums[metricStepErrors]; got != c.errs {
				t.Errorf("counted %d errors, want %d", got, c.errs)
			}
			if len(r.values[metricStep]) != 1 {
				t.Errorf("got the durations %v, want one", r.values[metricStep])
			}
		})
	}
}

// aDeafBroker answers when it is told to.
type aDeafBroker struct {
	shiftsync.Publisher
	asked, answer chan struct{}
}

func (b aDeafBroker) Begin(context.Context, bool) error {
	close(b.asked)
	<-b.answer
	return nil
}

// What is measured of a step, and its trace, come when it ends, which one that hangs does not.
func TestAStepThatHangsIsSeenWhileItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, nil)
		w.Acquired(shiftsync.Standing{})
		broker := aDeafBroker{asked: make(chan struct{}), answer: make(chan struct{})}
		p := watchedPublisher{broker, port{with: causeKafka, needs: w.health.needs, stats: w.observer.stats}}
		var step sync.WaitGroup
		step.Go(func() { _ = p.Begin(t.Context(), true) })
		<-broker.asked
		kafka := func() dependency {
			return asJSON[overview](t, w.visit(t, "/api/health")).Dependencies[2]
		}
		const words = "Step begin: under way for"
		if got := kafka().Asked; len(got) != 1 || got[0].Step != stepBegin || strings.Contains(w.visit(t, "/").Body.String(), words) {
			t.Errorf("just begun: got %+v, want it told to scripts and not to people", got)
		}
		<-time.After(2*time.Minute + 6*time.Second)
		if got := kafka().Asked; len(got) != 1 || time.Since(got[0].Since) != 2*time.Minute+6*time.Second {
			t.Errorf("it hangs: got %+v", got)
		}
		if page := w.visit(t, "/").Body.String(); !strings.Contains(page, words) || !strings.Contains(page, ">2 min 6 s<") {
			t.Errorf("it hangs: got\n%s", page)
		}
		close(broker.answer)
		step.Wait()
		if got := kafka().Asked; len(got) != 0 {
			t.Errorf("it has ended: got %+v", got)
		}
	})
}

func TestTheStepOfDeadLettersWaitsForKafka(t *testing.T) {
	d := newDependencies()
	end := d.begin(causeLetters, stepBury)
	if got := d.now()[2].Asked; len(got) != 1 || got[0].Step != stepBury {
		t.Errorf("got %+v", d.now())
	}
	end()
}
