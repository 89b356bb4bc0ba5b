package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// The holder was killed while Kafka is away. Whoever comes after it can claim nothing, and yet is the one to tell.
func TestATakeoverWhileKafkaIsAwayIsNoQuietStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, nil)
		outage := time.Now()
		found := shiftsync.Standing{Holder: "worker-1 (process 7)", Open: 23, InStep: outage}
		for range 10 {
			<-time.After(2 * time.Second)
			w.Standby(found)
		}
		found.Holder = ""
		w.Acquired(found)
		if got, told := w.stats.gauge(metricPending); !told || got != 23 {
			t.Errorf("with the lease: got %v pending, %v, want 23", got, told)
		}
		for range 400 {
			w.health.needs.note(causeKafka, errKafka)
			w.Done(shiftsync.Report{Pass: "p1", Pending: 23}, fmt.Errorf("look at topic: %w", errKafka))
			<-time.After(10 * time.Second)
		}
		synctest.Wait()

		for name, want := range map[string]float64{metricActive: 1, metricPending: 23, metricFailures: 400, metricPassAge: 4020} {
			if got, told := w.stats.gauge(name); !told || got != want {
				t.Errorf("got %s %v, %v, want %v", name, got, told, want)
			}
		}
		for _, c := range w.stats.checks {
			if c.Status != statusCritical {
				t.Fatalf("got the check %v %q", c.Status, c.Message)
			}
		}
		o := w.health.overview()
		if o.State != stateActive || o.Holder != "" || o.Ready || o.LastPass.Pending != 23 {
			t.Errorf("got %+v", o)
		}
		h := headlineOf(&o, "shifts")
		if h.Title != "Not in step" || !h.Since.Equal(shownTime(outage)) || h.Wait != "Changes of 23 shifts wait in Redis." {
			t.Errorf("got the headline %+v, want it since %s", h, outage)
		}
	})
}

func TestTheHeadlineIsAsOldAsTheTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, nil)
		since := func(claim, title string, at time.Time) {
			t.Helper()
			o := w.health.overview()
			if h := headlineOf(&o, "shifts"); h.Title != title || !h.Since.Equal(shownTime(at)) {
				t.Errorf("%s: got %s since %s, want %s since %s", claim, h.Title, h.Since, title, at)
			}
		}
		began := time.Now()
		found := shiftsync.Standing{InStep: began.Add(-time.Hour)}
		w.Acquired(found)
		w.Done(shiftsync.Report{Pass: "p1"}, errRedis)
		since("a restart in an outage", "Not in step", found.InStep)
		if o := w.health.overview(); !o.LastInStep.Equal(shownTime(found.InStep)) {
			t.Errorf("got last in step %s", o.LastInStep)
		}
		found.Never = true
		w.Acquired(found)
		w.Done(shiftsync.Report{Pass: "p1"}, errRedis)
		since("never in step", "Not in step", found.InStep)
		if o := w.health.overview(); !o.LastInStep.IsZero() {
			t.Errorf("never in step: got last in step %s", o.LastInStep)
		}
		w.Lost()
		w.Done(shiftsync.Report{}, errRedis)
		since("the lease is lost", "Not in step", found.InStep)

		w.Standby(shiftsync.Standing{Holder: "other"})
		<-time.After(time.Minute)
		away := time.Now()
		w.health.needs.note(causeRedis, errRedis)
		<-time.After(time.Minute)
		w.Done(shiftsync.Report{}, met(causeRedis, errRedis))
		since("a standby without Redis", "Cannot stand by", away)
	})
}

// Done tells of an outage once in a sleep. A standby that asks all the time is alive.
func TestAStandbyIsAliveWhileItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, env{"SYNC_SLEEP_PERIOD_SECONDS": "600", "WIW_TIMEOUT": "1s"})
		w.Standby(shiftsync.Standing{Holder: "other"})
		w.Done(shiftsync.Report{}, errRedis)
		w.Standby(shiftsync.Standing{Holder: "other"})
		for range 100 {
			<-time.After(5 * time.Second)
			w.Unanswered()
			if c := w.health.condition(); !c.Alive {
				t.Fatalf("got %+v", c)
			}
		}
		<-time.After(5 * time.Minute)
		if w.health.condition().Alive {
			t.Error("it does not ask any more and is alive")
		}
	})
}

func TestTheBeginOfATenureIsLogged(t *testing.T) {
	w := watch(t, true, nil)
	w.Acquired(shiftsync.Standing{Open: 23})
	w.Took(23)
	if got := w.told(); len(got) != 1 || !slices.Contains(got, "took the lease open_intents=23") {
		t.Errorf("got %s", strings.Join(got, "\n"))
	}
	if got := w.stats.sums[metricTaken]; got != 1 {
		t.Errorf("got %d leases, want 1", got)
	}
}
