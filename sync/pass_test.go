package shiftsync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// once does one pass of a new worker and returns what became of it.
func once(t *testing.T, w *world) (shiftsync.Report, *incarnation, error) {
	t.Helper()
	i := &incarnation{world: w, name: "worker"}
	rep, err := i.worker().RunOnce(t.Context())
	return rep, i, err
}

// mustOnce does one pass that must succeed.
func mustOnce(t *testing.T, w *world) shiftsync.Report {
	t.Helper()
	rep, _, err := once(t, w)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// inStep fails unless the newest record of each shift is what the API says.
func inStep(t *testing.T, w *world) {
	t.Helper()
	if len(w.api) == 0 {
		t.Fatal("the API has no shift: nothing was compared")
	}
	for id, want := range w.api {
		if got := w.last(id); got != want {
			t.Errorf("shift %d ends on %q, the API says %q", id, got, want)
		}
	}
}

func many(n int, content string) map[int64]string {
	out := map[int64]string{}
	for id := range int64(n) {
		out[id+1] = content
	}
	return out
}

func TestAPassPublishesWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(2345, "A"))
		for _, pass := range []struct {
			claim     string
			change    map[int64]string
			published int
		}{
			{"the first pass publishes all", nil, 2345},
			{"the second pass publishes nothing", nil, 0},
			{"a change of three publishes three", map[int64]string{1: "B", 1000: "B", 2345: "B"}, 3},
			{"a revert is a change", map[int64]string{1: "A"}, 1},
			{"a new shift is published", map[int64]string{9999: "A"}, 1},
			{"a shift that left the window changes nothing", map[int64]string{7: gone}, 0},
		} {
			w.set(pass.change)
			rep := mustOnce(t, w)
			if rep.Published != pass.published || rep.Fetched != len(w.api) || rep.Pending != 0 {
				t.Errorf("%s: got %+v", pass.claim, rep.Tally)
			}
			inStep(t, w)
		}
		if got, want := w.history(1), []string{"A", "B", "A"}; !slices.Equal(got, want) {
			t.Errorf("got the records %v, want %v", got, want)
		}
	})
}

func TestAnIDThatComesTwiceKeepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Next to each other, across batches, and a whole answer said thrice. A repeat carries a newer version.
		answers := map[string][]int64{"next to each other": {1, 1, 2, 2, 2}}
		var long, thrice []int64
		for id := int64(1); id <= 1700; id++ {
			long = append(long, id)
		}
		answers["far apart"] = append(slices.Clone(long), 1, 700, 1700)
		thrice = slices.Concat(long, long, long)
		answers["all thrice"] = thrice
		for claim, answer := range answers {
			w := newWorld()
			w.set(many(1700, "A"))
			w.answer = answer
			rep := mustOnce(t, w)
			repeats := map[int64]int{}
			for _, id := range answer {
				repeats[id]++
			}
			for id, n := range repeats {
				want := "A"
				if n > 1 {
					want = fmt.Sprintf("A+%d", n-1)
				}
				if got := w.last(id); got != want {
					t.Fatalf("%s: shift %d ends on %q, the last that was said is %q", claim, id, got, want)
				}
				if h := w.history(id); !slices.IsSorted(h) {
					t.Fatalf("%s: shift %d came as %v", claim, id, h)
				}
			}
			if rep.Fetched != len(answer) {
				t.Errorf("%s: fetched %d, want %d", claim, rep.Fetched, len(answer))
			}
		}
	})
}

func TestTheSecondVersionIsDecidedAgainstTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(map[int64]string{1: "A"})
		mustOnce(t, w)
		w.say = []shiftJSON{{ID: 1, Content: "B"}, {ID: 1, Content: "A"}} // the second one is as remembered
		mustOnce(t, w)
		if got, want := w.history(1), []string{"A", "B", "A"}; !slices.Equal(got, want) {
			t.Errorf("in one batch: got %v, want %v", got, want)
		}
		w.say = []shiftJSON{{ID: 1, Content: "B"}}
		for id := int64(2); id < 1200; id++ {
			w.say = append(w.say, shiftJSON{ID: id, Content: "A"})
		}
		w.say = append(w.say, shiftJSON{ID: 1, Content: "A"})
		held := make(chan struct{})
		w.onSend = func() { <-held } // the first stays in flight until all is read
		go func() {
			<-time.After(time.Second)
			close(held)
		}()
		mustOnce(t, w)
		if got, want := w.history(1), []string{"A", "B", "A", "B", "A"}; !slices.Equal(got, want) {
			t.Errorf("across batches: got %v, want %v", got, want)
		}
	})
}

func TestAHeldVersionIsNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The first version flies when the second comes, and has landed when the third does.
		w := newWorld()
		w.say = []shiftJSON{{ID: 1, Content: "v1"}}
		fill := func(from, to int64) {
			for id := from; id < to; id++ {
				w.say = append(w.say, shiftJSON{ID: id, Content: "A"})
			}
		}
		fill(2, 1100)
		second := len(w.say)
		w.say = append(w.say, shiftJSON{ID: 1, Content: "v2"})
		fill(1100, 5000)
		third := len(w.say)
		w.say = append(w.say, shiftJSON{ID: 1, Content: "v3"})

		held := make(chan struct{})
		w.onSend = func() { <-held }
		w.readAt = func(n int) error {
			switch n {
			case second + 600:
				<-time.After(time.Second) // the second is looked at
				close(held)
			case third:
				<-time.After(time.Second) // all that was in flight lands
			}
			return nil
		}
		mustOnce(t, w)
		if got := w.last(1); got != "v3" {
			t.Errorf("it ends on %q; topic: %v", got, w.history(1))
		}
	})
}

func TestABadShiftCostsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(30, "A"))
		w.set(map[int64]string{3: "bad"})
		rep, i, err := once(t, w)
		if err != nil || rep.Published != 29 || rep.SetAside != 1 || !slices.Equal(i.asides, []string{"3: no start_time"}) {
			t.Errorf("the others are published: got %+v, %v, %v", rep.Tally, i.asides, err)
		}
		rep, i, err = once(t, w)
		if err != nil || rep.StillAside != 1 || rep.SetAside != 0 || len(i.asides) != 0 {
			t.Errorf("it is told once a version: got %+v, %v, %v", rep.Tally, i.asides, err)
		}
		w.set(map[int64]string{3: "A"})
		if rep := mustOnce(t, w); rep.Published != 1 {
			t.Errorf("a mended version is published: got %+v", rep.Tally)
		}
		// Bad in the middle of its life: what was acknowledged stays remembered.
		w.set(map[int64]string{3: "bad"})
		mustOnce(t, w)
		w.set(map[int64]string{3: "A"})
		if rep := mustOnce(t, w); rep.Published != 0 {
			t.Errorf("back to what was acknowledged is no change: got %+v", rep.Tally)
		}
		w.schema++ // whatever decides how it is read
		w.set(map[int64]string{4: "bad"})
		mustOnce(t, w)
		w.schema++
		if _, i, _ := once(t, w); len(i.asides) != 1 {
			t.Errorf("with another schema it is tried again: got %v", i.asides)
		}
	})
}

func TestARefusedRecordCostsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(30, "A"))
		w.set(map[int64]string{3: "huge"})
		w.refuse["huge"] = "larger than the topic takes"
		rep, i, err := once(t, w)
		if err != nil || rep.Published != 29 || rep.Pending != 0 || !slices.Equal(i.asides, []string{"3: larger than the topic takes"}) {
			t.Errorf("got %+v, %v, %v", rep.Tally, i.asides, err)
		}
		if rep, i, err := once(t, w); err != nil || rep.Encoded != 0 || len(i.asides) != 0 {
			t.Errorf("it is not tried again as it is: got %+v, %v, %v", rep.Tally, i.asides, err)
		}
	})
}

func TestTooManyBadShiftsFailThePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(30, "A"))
		for id := range int64(4) {
			w.set(map[int64]string{id + 1: "bad"})
		}
		for range 2 { // once they are known, too
			rep, _, err := once(t, w)
			if !errors.Is(err, shiftsync.ErrTooManyBad) || rep.Fetched != 30 {
				t.Errorf("got %+v, %v", rep.Tally, err)
			}
		}
		if got := w.last(9); got != "A" {
			t.Errorf("the good ones are published all the same: got %q", got)
		}
	})
}

func TestAnAnswerThatBreaksOffIsTrueAsFarAsItCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(1200, "A"))
		broken := errors.New("unexpected end")
		w.readAt = func(n int) error {
			if n == 700 {
				return broken
			}
			return nil
		}
		rep, _, err := once(t, w)
		if !errors.Is(err, broken) || errors.Is(err, shiftsync.ErrPending) || rep.Published != 700 || rep.Pending != 0 {
			t.Errorf("got %+v, %v", rep.Tally, err)
		}
		w.readAt = nil
		if rep := mustOnce(t, w); rep.Published != 500 {
			t.Errorf("the next pass publishes the rest: got %+v", rep.Tally)
		}
	})
}

func TestASchemaChangeGoesOutSlowlyAndRealChangesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(25_000, "A"))
		mustOnce(t, w)
		w.schema++
		w.set(map[int64]string{24_999: "B"})
		i := &incarnation{world: w, name: "worker"}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- i.worker().Run(ctx) }()
		synctest.Wait()
		first, err := i.latest()
		if first.SchemaOnly != 24_999 || first.Deferred != 24_999-10_000 || first.Changed != 1 || !errors.Is(err, shiftsync.ErrPending) {
			t.Errorf("the first pass: got %+v, %v", first.Tally, err)
		}
		w.mu.Lock()
		real, p := slices.Clone(w.log[partitionOf(24_999)]), partitionOf(24_999)
		w.mu.Unlock()
		if at := slices.IndexFunc(real, func(m message) bool { return m.content == "B" }); at != 25_000/2 {
			t.Errorf("the real change is record %d of partition %d, want it right behind the %d of the first pass", at, p, 25_000/2)
		}
		if !slices.ContainsFunc(first.Notices, func(n string) bool { return strings.Contains(n, "schema has changed") }) {
			t.Errorf("nothing says that the schema changed: got %q", first.Notices)
		}
		<-time.After(35 * time.Second)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := w.history(5); !slices.Equal(got, []string{"A", "A"}) {
			t.Errorf("after ten thousand every ten seconds, shift 5 came as %v", got)
		}
		if last := i.reports[len(i.reports)-1]; last.Unchanged != 25_000 || i.done[len(i.done)-1] != nil {
			t.Errorf("and then all is in step: got %+v", last.Tally)
		}
	})
}

func TestASchemaChangeTakesNoRoomFromRealChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3000, "A"))
		mustOnce(t, w)
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		worker.PendingLimit = 1200
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- worker.Run(ctx) }()
		synctest.Wait()
		w.mu.Lock()
		w.away = true
		w.schema++
		w.api[3000] = "B"
		w.mu.Unlock()
		<-time.After(30 * time.Second)
		synctest.Wait()
		w.mu.Lock()
		_, stands := w.intents[3000]
		open := len(w.intents)
		w.mu.Unlock()
		if !stands || open != 1 {
			t.Errorf("while the broker is away %d are collected, the real change among them: %t; want it alone", open, stands)
		}

		w.mu.Lock() // the broker is back, and goes away again in the middle of republishing
		w.away = false
		w.onSend = func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.away = len(w.log[0]) > 1700
		}
		w.mu.Unlock()
		<-time.After(60 * time.Second)
		synctest.Wait()
		w.mu.Lock()
		if got := len(w.intents); got == 0 || got > worker.PendingLimit/2+batchOf {
			t.Errorf("republishing left %d intents of %d, want half at most, and a batch", got, worker.PendingLimit)
		}
		w.away, w.onSend = false, nil
		w.mu.Unlock()
		<-time.After(60 * time.Second)
		stop()
		<-done
		inStep(t, w)
	})
}

// batchOf is how many shifts the worker looks up together.
const batchOf = 500

// Whatever comes twice in an answer, at whatever distance, the last one is the newest, and nothing is sent twice.
func TestAnIDThatComesTwiceAtAnyDistanceKeepsItsOrder(t *testing.T) {
	for _, distance := range []int{1, 2, 300, 499, 500, 501, 999, 1196} {
		for _, first := range []string{"A", "B"} {
			for _, second := range []string{"A", "B", "C", "bad"} {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld()
					w.set(many(1200, "A"))
					mustOnce(t, w)
					var say []shiftJSON
					for id := range int64(1200) {
						say = append(say, shiftJSON{ID: id + 1, Content: "A"})
					}
					say[3].Content = first
					w.say = slices.Insert(say, 3+distance, shiftJSON{ID: 4, Content: second})
					w.onSend = func() { // and in between it is as long under way as possible
						<-time.After(time.Second)
					}
					if _, _, err := once(t, w); err != nil {
						t.Fatal(err)
					}
					want := []string{"A"}
					for _, content := range []string{first, second} {
						if content != want[len(want)-1] && content != "bad" {
							want = append(want, content)
						}
					}
					if got := w.history(4); !slices.Equal(got, want) {
						t.Errorf("%s and, %d later, %s: got %v, want %v", first, distance, second, got, want)
					}
				})
			}
		}
	}
}

func TestMemoryDoesNotGrowWithShiftsThatAreOnlyReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(20_000, "A"))
		_, first, _ := once(t, w)
		w.noise++ // the bytes of all differ, the content of none does
		if rep, again, err := once(t, w); err != nil || rep.Unchanged != 20_000 || again.largest > first.largest {
			t.Errorf("unchanged %d, %v; records of %d bytes stood in one buffer, in the first pass %d", rep.Unchanged, err, again.largest, first.largest)
		}
	})
}

func TestATopicThatIsGoneIsNotInStep(t *testing.T) {
	for _, gone := range []error{shiftsync.ErrNoTopic, shiftsync.ErrOtherCluster} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.set(everyShift("A"))
			i := &incarnation{world: w, name: "worker"}
			worker := i.worker()
			topic := &topicOf{Publisher: i}
			worker.Publisher = topic
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- worker.Run(ctx) }()
			synctest.Wait()
			topic.err.Store(&gone)
			w.set(map[int64]string{1: "B"})
			<-time.After(worker.Sleep + time.Second)
			synctest.Wait()
			if _, err := i.latest(); !errors.Is(err, gone) {
				t.Errorf("got %v, want %v", err, gone)
			}
			w.mu.Lock()
			collected := len(w.intents) == 1
			w.mu.Unlock()
			if collected && errors.Is(gone, shiftsync.ErrOtherCluster) {
				t.Error("what changed was collected for another destination")
			}
			stop()
			<-done
		})
	}
}

// topicOf has another answer than its Publisher about the topic.
type topicOf struct {
	shiftsync.Publisher
	err atomic.Pointer[error]
}

func (p *topicOf) Topic(ctx context.Context) (shiftsync.Topic, error) {
	if err := p.err.Load(); err != nil {
		return shiftsync.Topic{}, *err
	}
	return p.Publisher.Topic(ctx)
}

func TestABadVersionIsToldOnceThoughAnOlderOneIsAcknowledgedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(30, "A"))
		r := run(t, w, "worker")
		<-time.After(time.Second)
		set := func(away bool, content string) {
			w.mu.Lock()
			w.away, w.api[4] = away, content
			w.mu.Unlock()
			<-time.After(30 * time.Second)
		}
		set(true, "B")
		set(true, "bad")
		set(false, "bad")
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if got := w.history(4); len(r.asides) != 1 || !slices.Equal(got, []string{"A", "B"}) {
			t.Errorf("told %q, records %v", r.asides, got)
		}
	})
}

// The claim stands in Redis though its answer was lost. What changes while the broker is away is collected in its name,
// and what stood before goes out when the broker is back.
func TestAnOutageIsCollectedThroughBehindALostClaim(t *testing.T) {
	for _, f := range []fault{lostAnswer, noEffect} {
		for _, lost := range []int{1, 2} { // the claim that is lost: of the takeover, or a later one
			for _, seen := range []string{"B", "C"} { // what the API says while the broker is away; B it said before
				synctest.Test(t, func(t *testing.T) {
					w := newWorld()
					w.set(everyShift("A"))
					mustOnce(t, w)
					claims := 0
					i := &incarnation{world: w, name: "worker", plan: func(_ int, name string) fault {
						if name == "claim" {
							if claims++; claims == lost {
								return f
							}
						}
						return ""
					}}
					away := func(is bool) {
						w.mu.Lock()
						w.away = is
						w.mu.Unlock()
					}
					i.before = func(n int) { // from the lost claim on, the broker is away
						i.gate.Lock()
						defer i.gate.Unlock()
						if claims == lost && n < len(i.names) && i.names[n] == "claim" {
							away(true)
						}
					}
					if lost == 2 {
						w.onSend = func() { // B gets no answer, so that there is a second claim
							away(true)
							w.mu.Lock()
							w.onSend = nil
							w.mu.Unlock()
						}
					}
					w.set(map[int64]string{1: "B"})
					ctx, stop := context.WithCancel(t.Context())
					done := make(chan error)
					go func() { done <- i.worker().Run(ctx) }()
					<-time.After(5 * time.Second)
					if lost == 2 {
						away(false)
						<-time.After(10 * time.Second)
					}
					w.set(map[int64]string{1: seen})
					<-time.After(25 * time.Second)
					w.set(map[int64]string{1: gone})
					<-time.After(15 * time.Second)
					away(false)
					<-time.After(40 * time.Second)
					stop()
					<-done
					if claims <= lost {
						t.Fatalf("%s: %d claims: nothing was provoked", f, claims)
					}
					if got := w.last(1); got != seen {
						t.Errorf("claim %d, %s: ends on %q, %s was seen while the broker was away: %v", lost, f, got, seen, w.history(1))
					}
				})
			}
		}
	}
}

func TestTheEpochIsRenewedBetweenTheBatchesOfALongPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(2345, "A"))
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		p := &renewals{Publisher: i}
		worker.Publisher = p
		w.onSend = func() { <-time.After(time.Hour) }
		if _, err := worker.RunOnce(t.Context()); err == nil {
			if p.longest > time.Hour {
				t.Errorf("there were %s between two renewals", p.longest)
			}
		} else {
			t.Error(err)
		}
		if p.n < 5 {
			t.Errorf("%d renewals in a pass of five batches", p.n)
		}
	})
}

// renewals counts how often the epoch may be renewed, and the longest time without.
type renewals struct {
	shiftsync.Publisher
	n       int
	last    time.Time
	longest time.Duration
}

func (r *renewals) Renew(ctx context.Context) error {
	r.n++
	if !r.last.IsZero() {
		r.longest = max(r.longest, time.Since(r.last))
	}
	r.last = time.Now()
	return r.Publisher.Renew(ctx)
}

func TestNothingOfAForeignAccountIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		mustOnce(t, w)
		w.say = []shiftJSON{{ID: 5, Content: foreign}, {ID: 6, Content: "bad"}, {ID: 7, Content: foreign}}
		var refused *shiftsync.LayoutError
		if _, _, err := once(t, w); !errors.As(err, &refused) || len(w.aside) != 0 || w.last(5) != "" {
			t.Errorf("got %v; noted %v, records %v", err, w.aside, w.history(5))
		}
	})
}

func TestAnotherLayoutIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3, "A"))
		mustOnce(t, w)
		other := (&incarnation{world: w, name: "worker"}).worker()
		other.Partition = "0"
		var refused *shiftsync.LayoutError
		if _, err := other.RunOnce(t.Context()); !errors.As(err, &refused) {
			t.Fatalf("got %v", err)
		}
		other.AcceptLayout = true
		if rep, err := other.RunOnce(t.Context()); err != nil || rep.Published != 3 {
			t.Errorf("accepted, it republishes the window: got %+v, %v", rep.Tally, err)
		}
		w.layout.Account = 78
		w.set(many(3, "B"))
		other.AcceptLayout = false
		if rep, err := other.RunOnce(t.Context()); !errors.As(err, &refused) || rep.Published != 0 || w.last(1) != "A" {
			t.Errorf("another account is refused before anything is published: got %+v, %v", rep.Tally, err)
		}
	})
}

func TestATopicThatWasCutIsFilledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(10, "A"))
		mustOnce(t, w)
		w.log[1] = nil
		rep := mustOnce(t, w)
		inStep(t, w)
		if len(rep.Notices) != 1 || !strings.Contains(rep.Notices[0], "recreated or cut") {
			t.Errorf("got the notices %q", rep.Notices)
		}
		if rep := mustOnce(t, w); rep.Published != 0 || len(rep.Notices) != 0 {
			t.Errorf("and that once: got %+v, %q", rep.Tally, rep.Notices)
		}
	})
}

func TestAnOutageOfTheBrokerIsCollectedThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(everyShift("A"))
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		worker.PendingLimit = 4
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- worker.Run(ctx) }()
		pass := func(contents map[int64]string) (shiftsync.Report, error) {
			w.set(contents)
			<-time.After(10 * time.Second)
			synctest.Wait()
			return i.reports[len(i.reports)-1], i.done[len(i.done)-1]
		}
		synctest.Wait()

		w.mu.Lock()
		w.away = true
		w.mu.Unlock()
		if rep, err := pass(map[int64]string{1: "B"}); !errors.Is(err, shiftsync.ErrPending) || rep.Pending != 1 {
			t.Errorf("a change is collected: got %+v, %v", rep, err)
		}
		for range 2 {
			if rep, err := pass(nil); !errors.Is(err, shiftsync.ErrPending) || rep.Unchanged != 3 || rep.Pending != 1 {
				t.Errorf("read again it is nothing new: got %+v, %v", rep, err)
			}
			w.noise++ // and no more if only its bytes differ
		}
		if rep, err := pass(map[int64]string{1: "C", 2: "B"}); !errors.Is(err, shiftsync.ErrPending) || rep.Pending != 2 {
			t.Errorf("a newer version takes its place: got %+v, %v", rep, err)
		}
		if rep, err := pass(map[int64]string{1: gone}); !errors.Is(err, shiftsync.ErrPending) || rep.Pending != 2 {
			t.Errorf("it stays when its shift leaves the window: got %+v, %v", rep, err)
		}
		if rep, err := pass(map[int64]string{3: "B"}); !errors.Is(err, shiftsync.ErrPending) || rep.Pending != 3 {
			t.Errorf("a third one changes: got %+v, %v", rep, err)
		}
		if rep, err := pass(map[int64]string{3: "A"}); !errors.Is(err, shiftsync.ErrPending) || rep.Changed != 1 || rep.Pending != 3 {
			t.Errorf("and is taken back, which counts although it equals what is remembered: got %+v, %v", rep, err)
		}
		rep, err := pass(map[int64]string{2: "D", 3: gone, 11: "A", 12: "A", 13: "A"})
		if !errors.Is(err, shiftsync.ErrPendingLimit) || rep.Pending != 4 || rep.NotCollected != 2 {
			t.Errorf("at the limit nothing new is collected, and what stands may be replaced: got %+v, %v", rep, err)
		}
		w.mu.Lock()
		w.away = false
		w.mu.Unlock()
		if rep, err := pass(nil); err != nil || rep.Pending != 0 {
			t.Errorf("when the broker is back all goes out: got %+v, %v", rep, err)
		}
		inStep(t, w)
		if got := w.history(1); !slices.Equal(got, []string{"A", "C"}) {
			t.Errorf("of the shift that left, the newest goes out: got %v", got)
		}
		if got := w.last(3); got != "A" {
			t.Errorf("of the one that was taken back and left, the newest goes out: got %q", got)
		}
		if got := w.history(2); !slices.Equal(got, []string{"A", "D"}) {
			t.Errorf("of the one that changed twice, the newest goes out: got %v", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
