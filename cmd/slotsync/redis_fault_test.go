//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cache/cachetest"
	"github.com/slotsync/slotsync/cmd/mini/world"
)

// The promise on a real Redis that fails in each way that it has. The test starts its own servers.
func TestNothingIsLostWhenRedisFails(t *testing.T) {
	fromStack(t, "SLOTSYNC_TEST_REDIS") // whoever has a stack has what it takes to start one more
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "scenario\trecords\tseconds\tpasses\tfailed\trepeats\t\n")
	for _, c := range []struct {
		name  string
		fault func(r *rehearsal)
	}{
		{"restart", restarts},
		{"kill -9", kills},
		{"client pause", pauses},
		{"full", full},
		{"sentinel", failsOver},
		{"lagging replica", failsOverToALaggard},
		{"split brain", isSplit},
		{"split brain, bounded", isSplitAndBounded},
		{"cluster", losesANode},
		{"cluster, handed over", handsANodeOver},
		{"cluster, moved", movesTheSlot},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &rehearsal{T: t, World: start(t, world.Options{Shifts: 1500, Partitions: 3}), dir: t.TempDir()}
			r.settings = env{"SYNC_SLEEP_PERIOD_SECONDS": "0", "WIW_RATE": "6000"}
			c.fault(r)
			r.settle()
			if t.Failed() {
				t.Logf("the log:\n%s", r.log.text())
				return
			}
			r.log.mu.Lock()
			defer r.log.mu.Unlock()
			fmt.Fprintf(w, "%s\t%d\t%.1f\t%d\t%d\t%d\t\n", c.name, r.records, time.Since(r.began).Seconds(), r.log.good+r.log.bad, r.log.bad, r.repeats)
			if r.log.bad == 0 && !r.smooth {
				t.Error("no pass failed: this showed nothing")
			}
		})
	}
	w.Flush()
	t.Logf("shifts change all the time:\n%s", table.String())
}

func restarts(r *rehearsal) {
	s := r.server()
	r.begin()
	for range 3 {
		r.may(s.Stop())
		r.failures(1)
		r.may(s.Run())
		r.successes(2)
	}
}

func kills(r *rehearsal) {
	s := r.server()
	r.begin()
	for range 3 {
		s.Close()
		r.failures(1)
		r.may(s.Run())
		r.successes(2)
	}
}

func pauses(r *rehearsal) {
	s := r.server()
	r.begin()
	r.may(s.Do(r.Context(), "client", "pause", 6000, "all"))
	r.failures(1)
	r.successes(2)
}

// full collects changes while Kafka takes none, fills Redis, and lets Kafka take them again: what stands is settled, and
// what is new has to wait.
func full(r *rehearsal) {
	s := r.server()
	var away atomic.Bool
	r.Kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.Kafka.KeepControl()
		return nil, errors.New("away"), away.Load()
	})
	r.begin()
	away.Store(true)
	open := func() (n int64) {
		c := s.Client()
		defer c.Close()
		keys, err := c.Keys(r.Context(), "slotsync:*:intents").Result()
		r.may(err)
		for _, key := range keys {
			in, err := c.HLen(r.Context(), key).Result()
			r.may(err)
			n += in
		}
		return n
	}
	r.log.wait(r.T, "a pass that leaves changes pending", func(l *tally) bool { return l.pending > 0 })
	if open() == 0 {
		r.Fatal("no intent is open")
	}
	r.may(s.Do(r.Context(), "config", "set", "maxmemory", "1"))
	away.Store(false)
	// The pass in hand may have met Kafka as it was. The one after it has settled what stood before it fails.
	for range 2 {
		r.failures(1)
	}
	r.log.wait(r.T, "the word that Redis is full", func(l *tally) bool { return strings.Contains(l.last, "Redis is full: raise its maxmemory") })
	if n := open(); n != 0 {
		r.Errorf("%d intents are open on the full server, want what stood to be settled", n)
	}
	r.may(s.Do(r.Context(), "config", "set", "maxmemory", "0"))
	r.successes(2)
}

// failsOver kills the master, and then lets the new one hang, and with it the Sentinel that may have been asked.
func failsOver(r *rehearsal) {
	master := r.server()
	replica, err := cachetest.StartReplica(r.dir, master)
	r.ends(replica, err)
	sentinels, err := cachetest.StartSentinels(r.dir, master, 3)
	r.may(err)
	r.Cleanup(sentinels.Close)
	r.watchedBy(sentinels)
	r.begin()

	master.Close()
	r.failures(1)
	r.may(replica.Leads())
	r.successes(2)
	r.may(master.Run())
	r.may(master.Follows())
	r.successes(2)

	// With a hanging Sentinel, two of three are left to agree.
	r.may(sentinels[0].Pause())
	r.may(replica.Pause())
	r.failures(1)
	r.may(master.Leads())
	r.successes(2)
	r.may(sentinels[0].Resume())
	r.may(replica.Resume())
	r.may(replica.Follows())
	r.successes(2)
}

// failsOverToALaggard makes a master of a replica that lacks seconds of what was acknowledged. What it lacks is
// published again, and nothing is lost of what is still in the window.
func failsOverToALaggard(r *rehearsal) {
	master := r.server()
	replica, err := cachetest.StartReplica(r.dir, master)
	r.ends(replica, err)
	sentinels, err := cachetest.StartSentinels(r.dir, master, 3)
	r.may(err)
	r.Cleanup(sentinels.Close)
	r.watchedBy(sentinels)
	r.begin()

	// With a password that the master does not know, the replica does not get at it any more.
	r.may(replica.Do(r.Context(), "config", "set", "masterauth", "wrong"))
	r.may(master.Do(r.Context(), "client", "kill", "type", "replica"))
	r.successes(20)
	master.Close()
	r.may(replica.Do(r.Context(), "config", "set", "masterauth", ""))
	r.failures(1)
	r.may(replica.Leads())
	r.successes(2)
	r.lags = true
}

// losesANode kills the node of a cluster that holds the destination, and brings it back.
func losesANode(r *rehearsal) {
	nodes, err := cachetest.StartCluster(r.dir, 3)
	r.may(err)
	r.Cleanup(nodes.Close)
	r.settings["REDIS_CLUSTER_ADDRS"] = strings.Join(nodes.Addrs()[:2], ", ")
	r.begin()
	s := keeper(r.T, nodes)
	s.Close()
	r.failures(1)
	r.may(s.Run())
	r.successes(2)
}

// rehearsal is a worker in a world whose shifts change all the time, and a Redis that fails.
type rehearsal struct {
	*testing.T
	*world.World
	dir      string
	settings env
	began    time.Time
	log      *tally
	lags     bool // Redis forgets some of what it acknowledged
	smooth   bool // no pass need fail

	stop    context.CancelFunc
	ended   chan error
	quiet   context.CancelFunc // ends the changes
	changes chan struct{}      // closed when they have ended

	records, repeats int // as a consumer sees them
}

// may ends the test if something did not work that the test rests on.
func (r *rehearsal) may(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rehearsal) ends(s *cachetest.Server, err error) {
	r.Helper()
	if s != nil {
		r.Cleanup(s.Close)
	}
	r.may(err)
}

// server starts a Redis for the worker.
func (r *rehearsal) server() *cachetest.Server {
	r.Helper()
	s, err := cachetest.Start(r.dir)
	r.ends(s, err)
	r.settings["REDIS_HOST"] = "redis://" + s.Addr
	return s
}

// watchedBy lets the worker find the master by its Sentinels, and by nothing else.
func (r *rehearsal) watchedBy(sentinels cachetest.Group) {
	r.settings["REDIS_SENTINEL_MASTER"] = cachetest.MasterName
	r.settings["REDIS_SENTINEL_ADDRS"] = strings.Join(sentinels.Addrs(), ",")
	delete(r.settings, "REDIS_HOST")
}

// begin starts the worker, and the changes once it is in step.
func (r *rehearsal) begin() {
	r.Helper()
	settings := r.Env()
	settings["LOG_LEVEL"] = "debug"                // which tells of every pass
	settings["REDIS_HOST"] = "redis://127.0.0.1:1" // if the one of the settings is used, another one is
	maps.Copy(settings, r.settings)
	r.began, r.log, r.ended = time.Now(), &tally{changed: make(chan struct{}, 1)}, make(chan error, 1)
	ctx, stop := context.WithCancel(r.Context())
	r.stop = stop
	go func() {
		r.ended <- run(ctx, nil, func(name string) string { return settings[name] }, io.Discard, r.log)
	}()
	quiet, end := context.WithCancel(r.Context())
	r.quiet, r.changes = end, make(chan struct{})
	r.Cleanup(func() {
		stop()
		<-r.changes
		if err := <-r.ended; err != nil {
			r.Errorf("the worker ended with %v", err)
		}
	})
	go func() {
		defer close(r.changes)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.API.Churn(10)
			case <-quiet.Done():
				return
			}
		}
	}()
	r.successes(2)
}

// successes waits for so many more passes that ended in step.
func (r *rehearsal) successes(n int) {
	r.Helper()
	r.log.mu.Lock()
	n += r.log.good
	r.log.mu.Unlock()
	r.log.wait(r.T, "a pass in step", func(l *tally) bool { return l.good >= n })
}

// failures waits for so many more that did not.
func (r *rehearsal) failures(n int) {
	r.Helper()
	r.log.mu.Lock()
	n += r.log.bad
	r.log.mu.Unlock()
	r.log.wait(r.T, "a pass that fails", func(l *tally) bool { return l.bad >= n })
}

// settle ends the changes, waits until the topic says what the API says, and counts.
func (r *rehearsal) settle() {
	r.Helper()
	r.quiet()
	<-r.changes
	r.successes(2) // of which the second began after the last change
	r.stop()
	if err := <-r.ended; err != nil {
		r.Errorf("the worker ended with %v", err)
	}
	r.ended <- nil // for the cleanup
	last := map[int64]string{}
	for _, record := range inStep(r.T, r.World) {
		r.records++
		if hash := record.Headers["slotsync-hash"]; last[record.id] == hash {
			r.repeats++
		} else {
			last[record.id] = hash
		}
	}
	if r.lags && r.repeats == 0 {
		r.Error("nothing was repeated: the replica lacked nothing")
	}
}

// tally is a log that counts the passes in it.
type tally struct {
	changed chan struct{} // holds one element after a pass

	mu                 sync.Mutex // guards all below
	lines              bytes.Buffer
	good, pending, bad int
	last               string // what the last pass that failed ended with
}

func (l *tally) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines.Write(p)
	var line struct{ Msg, Result, Err string }
	if json.Unmarshal(p, &line) != nil {
		return len(p), nil
	}
	switch {
	case line.Msg == "pass done" && line.Result == resultOK:
		l.good++
	case line.Msg == "pass done":
		l.pending++
	case line.Msg == "pass failed":
		l.bad++
		l.last = line.Err
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *tally) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// wait waits until the passes are as wanted.
func (l *tally) wait(t *testing.T, what string, done func(*tally) bool) {
	t.Helper()
	late := time.After(90 * time.Second)
	for {
		l.mu.Lock()
		yes := done(l)
		l.mu.Unlock()
		if yes {
			return
		}
		select {
		case <-l.changed:
		case <-late:
			t.Fatalf("waited 90 s for %s; the log:\n%s", what, l.text())
		}
	}
}
