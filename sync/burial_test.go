package shiftsync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestABadVersionGetsOneDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3, "A"))
		w.spoil()
		for _, pass := range []struct {
			claim   string
			change  func()
			letters int // of each of the two in the end
		}{
			{"both are bad", func() {}, 1},
			{"nothing has changed", func() {}, 1},
			{"their bytes have changed", func() { w.noise++ }, 2},
			{"the schema has changed", func() { w.schema++ }, 3},
		} {
			pass.change()
			rep := mustOnce(t, w)
			for _, id := range []int64{badID, poisonID} {
				if got := len(w.lettersOf(id)); got != pass.letters {
					t.Errorf("%s: shift %d has %d dead letters, want %d (%+v)", pass.claim, id, got, pass.letters, rep.Tally)
				}
			}
			if rep.Buried != rep.SetAside || rep.Unburied != 0 || rep.Pending != 0 {
				t.Errorf("%s: got %+v", pass.claim, rep)
			}
		}
		if why := w.buriedWrong(); why != "" {
			t.Error(why)
		}
		inStepButFor(t, w, badID, poisonID)

		parsed, refused := w.lettersOf(badID)[0], w.lettersOf(poisonID)[0]
		if parsed.Stage != shiftsync.StageParse || parsed.Reason != "no start_time" || parsed.Key != nil ||
			string(parsed.Body) != `{"id":4,"content":"bad","noise":0}` {
			t.Errorf("the letter of a shift that cannot be read: %+v, %s", parsed, parsed.Body)
		}
		if refused.Stage != shiftsync.StagePublish || refused.Reason != "larger than the topic takes" || string(refused.Key) != "5" || string(refused.Body) != "poison" {
			t.Errorf("the letter of a record that was refused: %+v, %s", refused, refused.Body)
		}
	})
}

// inStepButFor fails unless the newest record of each shift, but for those that never get one, is what the API says.
func inStepButFor(t *testing.T, w *world, bad ...int64) {
	t.Helper()
	if len(w.api) <= len(bad) {
		t.Fatal("the API has no other shift: nothing was compared")
	}
	for id, want := range w.api {
		if got := w.last(id); got != want && !slices.Contains(bad, id) {
			t.Errorf("shift %d ends on %q, the API says %q", id, got, want)
		}
	}
}

// unencodable makes an encoder fail for a content.
type unencodable struct{ *incarnation }

func (u unencodable) Encode(s *shiftsync.Shift, buf []byte, into *shiftsync.Record) ([]byte, error) {
	if s.Notes == "strange" {
		return buf, errors.New("notes: not for this schema")
	}
	return u.incarnation.Encode(s, buf, into)
}

func TestALetterTellsHowFarItsShiftCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3, "A"))
		w.spoil()
		w.set(map[int64]string{0: "bad", 2: "strange"})
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		worker.Encoder = unencodable{i}
		if _, err := worker.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[int64]shiftsync.Stage{
			0: shiftsync.StageParse, badID: shiftsync.StageParse, 2: shiftsync.StageEncode, poisonID: shiftsync.StagePublish,
		} {
			if got := w.lettersOf(id); len(got) != 1 || got[0].Stage != want {
				t.Errorf("shift %d: got %+v, want one letter of stage %s", id, got, want)
			}
		}
	})
}

func TestALetterThatIsNotTakenStaysPendingAndNothingElseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(1700, "A"))
		w.spoil()
		w.unburied = true
		for _, want := range []struct{ published, aside int }{{1698, 2}, {0, 0}} { // all of them are remembered
			rep, i, err := once(t, w)
			if !errors.Is(err, shiftsync.ErrPending) || !errors.Is(err, errLost) || !strings.Contains(err.Error(), "2 dead letters wait, the first of shift 4: ") {
				t.Errorf("got the error %v", err)
			}
			if rep.Published != want.published || rep.SetAside != want.aside || rep.Unburied != 2 || rep.Pending != 0 || len(i.asides) != want.aside {
				t.Errorf("got %+v, told %v, want %+v", rep, i.asides, want)
			}
		}
		inStepButFor(t, w, badID, poisonID)
		w.unburied = false
		rep := mustOnce(t, w)
		if why := w.buriedWrong(); why != "" || rep.Buried != 2 || rep.SetAside != 0 || rep.StillAside != 2 || rep.Published != 0 {
			t.Errorf("with the letters acknowledged: %s, %+v", why, rep.Tally)
		}
	})
}

func TestALoopBringsDeadLettersLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3, "A"))
		w.spoil()
		w.unburied = true
		r := run(t, w, "worker")
		<-time.After(25 * time.Second)
		w.mu.Lock()
		w.unburied = false
		w.mu.Unlock()
		<-time.After(10 * time.Second)
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if why := w.buriedWrong(); why != "" {
			t.Error(why)
		}
	})
}

func TestALetterThatIsNotTakenKeepsNoOtherWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(1700, "A"))
		w.spoil()
		for _, id := range []int64{1, 600, 1200, 1700} {
			w.set(map[int64]string{id: "bad"})
		}
		w.unburiable = map[int64]bool{1: true}
		rep, _, err := once(t, w)
		if !errors.Is(err, shiftsync.ErrPending) || !errors.Is(err, errUnburiable) || !strings.Contains(err.Error(), "1 dead letters wait, the first of shift 1:") {
			t.Errorf("got the error %v", err)
		}
		if rep.Buried != 5 || rep.SetAside != 6 || rep.Unburied != 1 {
			t.Errorf("got %+v", rep)
		}
	})
}

func TestNothingWaitsForLongForDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(5000, "A"))
		w.spoil()
		for id := int64(1); id < 5000; id += 100 {
			w.set(map[int64]string{id: "bad"})
		}
		w.unburied = true
		tries, good := 0, 0
		w.onBury = func() {
			w.mu.Lock()
			if tries++; tries == 1 {
				good = len(w.shifts)
			}
			w.mu.Unlock()
			<-time.After(9 * time.Second)
		}
		began := time.Now()
		rep, _, err := once(t, w)
		if took := time.Since(began); !errors.Is(err, shiftsync.ErrPending) || took > 20*time.Second || tries != 2 {
			t.Errorf("the pass took %s and tried %d times: %v", took, tries, err)
		}
		if rep.Unburied != 52 || rep.Published != 4948 || good != 4948 {
			t.Errorf("got %+v; when letters were tried first, %d good shifts were remembered", rep, good)
		}
	})
}

func TestDeadLettersDoNotHideThatTooMuchIsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(10, "A"))
		w.spoil()
		w.badShare, w.unburied = 0.1, true
		if _, _, err := once(t, w); !errors.Is(err, shiftsync.ErrTooManyBad) || !errors.Is(err, errLost) {
			t.Errorf("got %v, want both troubles", err)
		}
	})
}

func TestWhileTheBrokerIsAwayNoDeadLetterIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3, "A"))
		w.buries = true
		r := run(t, w, "worker")
		<-time.After(time.Second)
		tries := 0
		w.mu.Lock()
		w.away, w.onBury = true, func() { tries++ }
		w.mu.Unlock()
		w.spoil()
		<-time.After(30 * time.Second)
		rep, err := r.latest()
		if !errors.Is(err, shiftsync.ErrPending) || rep.Unburied != 1 || tries != 0 {
			t.Errorf("got %v, %+v after %d tries", err, rep.Tally, tries)
		}
		w.mu.Lock()
		w.away = false
		w.mu.Unlock()
		<-time.After(15 * time.Second)
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if why := w.buriedWrong(); why != "" {
			t.Error(why)
		}
	})
}

// silent never answers a letter.
type silent struct{ *incarnation }

func (s silent) Bury(ctx context.Context, _ shiftsync.Hold, letters []shiftsync.DeadLetter) ([]bool, error) {
	<-ctx.Done()
	return make([]bool, len(letters)), context.Cause(ctx)
}

func TestAStopIsBoundedThoughNoLetterIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3, "A"))
		w.spoil()
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		worker.DeadLetters = silent{i}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- worker.Run(ctx) }()
		<-time.After(5 * time.Second)
		stop()
		asked := time.Now()
		<-ended
		if took := time.Since(asked); took > worker.StopTimeout {
			t.Errorf("the stop took %s", took)
		}
		if got := w.last(3); got != "A" {
			t.Errorf("the good ones are published: got %q", got)
		}
	})
}

func TestASecondReadingForTheSchemaBuriesNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3, "A"))
		mustOnce(t, w)
		w.schema++
		w.spoil()
		w.unburied = true
		rep, _, err := once(t, w)
		if !errors.Is(err, shiftsync.ErrPending) || rep.SchemaOnly != 3 || rep.Published != 3 || rep.Unburied != 2 {
			t.Errorf("got %+v, %v", rep.Tally, err)
		}
	})
}

func TestEachLetterHoldsItsOwnShift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(5000, "A"))
		w.spoil()
		for id := int64(1); id < 5000; id += 100 {
			w.set(map[int64]string{id: "bad"})
		}
		w.onBury = func() { <-time.After(time.Second) } // meanwhile what comes behind is read, into the same memory
		mustOnce(t, w)
		if len(w.letters) != 52 {
			t.Errorf("got %d letters", len(w.letters))
		}
		for _, l := range w.letters {
			if want := fmt.Sprintf(`{"id":%d,"content":"bad","noise":0}`, l.ID); l.Stage == shiftsync.StageParse && string(l.Body) != want {
				t.Errorf("the letter of shift %d holds %s", l.ID, l.Body)
			}
		}
	})
}

// The topic of dead letters is away for hours, with as many bad shifts as may be pending. They change, or leave the
// window, meanwhile.
func TestLettersThatAreNotTakenStandInTheWayOfNothing(t *testing.T) {
	for claim, replace := range map[string]func(t *testing.T, w *world, r running) running{
		"one worker": func(_ *testing.T, _ *world, r running) running { return r },
		"a stop, and another worker": func(t *testing.T, w *world, r running) running {
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			return run(t, w, "another")
		},
		"a death, and another worker": func(t *testing.T, w *world, r running) running {
			r.note(func() { r.dead = true })
			_ = r.stop()
			return run(t, w, "another")
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.limit = 6
			w.set(many(3, "A"))
			mustOnce(t, w)
			w.buries, w.unburied, w.badShare, w.refuse["poison"], w.refuse["other poison"] = true, true, 100, "too large", "too large"
			r := run(t, w, "worker")
			for n, change := range []map[int64]string{
				{11: "poison", 12: "poison", 13: "poison", 14: "bad"},
				{11: "other poison", 12: gone, 13: "good"},
				{14: "other poison"},
				{},
			} {
				good := fmt.Sprint("B", n)
				w.set(change)
				w.set(map[int64]string{1: good, 2: good, 3: good, int64(100 + n): good})
				<-time.After(2 * time.Hour)
				for _, id := range []int64{1, 2, 3, int64(100 + n)} {
					if got := w.last(id); got != good {
						t.Errorf("%s: after change %d the good shift %d ends on %q", claim, n, id, got)
					}
				}
				if rep, err := r.latest(); !errors.Is(err, shiftsync.ErrPending) || rep.Pending != 0 || rep.Unburied != len(w.waiting) {
					t.Errorf("%s: after change %d got %+v, %v", claim, n, rep, err)
				}
				r = replace(t, w, r)
			}
			w.mu.Lock()
			w.unburied = false
			w.mu.Unlock()
			<-time.After(time.Minute)
			if _, err := r.latest(); err != nil {
				t.Errorf("%s: in the end %v", claim, err)
			}
			_ = r.stop()
			for id, want := range map[int64][]string{
				11: {"other poison", "poison"}, 12: {"poison"}, 13: {"poison"}, 14: {"other poison", `{"id":14,"content":"bad","noise":0}`},
			} {
				var got []string
				for _, l := range w.lettersOf(id) {
					got = append(got, string(l.Body))
				}
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("%s: shift %d has the letters %q, want %q", claim, id, got, want)
				}
			}
			if len(w.waiting) != 0 || w.last(13) != "good" {
				t.Errorf("%s: waiting %v, shift 13 ends on %q", claim, w.waiting, w.last(13))
			}
		})
	}
}

func TestALetterTellsOfThePassThatSetItsShiftAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3, "A"))
		w.spoil()
		w.unburied = true
		first, _, _ := once(t, w)
		at := time.Now()
		<-time.After(time.Hour)
		w.unburied = false
		mustOnce(t, w)
		for _, l := range w.letters {
			if l.Pass != first.Pass || !l.Time.Equal(at) {
				t.Errorf("shift %d: got pass %s at %s, want %s at %s", l.ID, l.Pass, l.Time, first.Pass, at)
			}
		}
		if len(w.letters) != 2 {
			t.Errorf("got %d letters", len(w.letters))
		}
	})
}

// The letters of a pass go out though its answer was not whole.
func TestLettersDoNotWaitForTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3, "A"))
		w.spoil()
		w.readAt = func(n int) error {
			if n == 5 {
				return errLost
			}
			return nil
		}
		w.set(map[int64]string{6: "A"})
		if _, _, err := once(t, w); !errors.Is(err, errLost) || len(w.letters) != 2 || len(w.waiting) != 0 {
			t.Errorf("%v: %d letters, waiting %v", err, len(w.letters), w.waiting)
		}
	})
}

// Where as many letters wait as may, nothing more is set aside, since there would be no letter of it.
func TestNoMoreLettersWaitThanMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.limit = 4
		w.set(many(3, "A"))
		mustOnce(t, w)
		w.buries, w.unburied, w.badShare, w.refuse["poison"] = true, true, 100, "too large"
		for id, content := range map[int64]string{11: "poison", 12: "bad", 13: "poison", 14: "bad", 15: "bad", 16: "poison"} {
			w.set(map[int64]string{id: content})
			_, _, _ = once(t, w)
		}
		w.set(map[int64]string{1: "B"})
		rep, _, err := once(t, w)
		if !errors.Is(err, shiftsync.ErrPendingLimit) || !errors.Is(err, errLost) || len(w.waiting) != 4 || rep.NotCollected != 2 || w.last(1) != "B" {
			t.Errorf("%v: %+v; %d wait, shift 1 ends on %q", err, rep, len(w.waiting), w.last(1))
		}
		w.unburied = false
		_, _, _ = once(t, w)
		mustOnce(t, w)
		if len(w.letters) != 6 || len(w.aside) != 6 || len(w.intents) != 0 || len(w.unmourned) != 0 {
			t.Errorf("%d letters, %d set aside, %d intents stand", len(w.letters), len(w.aside), len(w.intents))
		}
	})
}

// strange answers in ways that contradict themselves.
type strange struct {
	*incarnation
	buried bool
	err    error
}

func (s strange) Bury(_ context.Context, _ shiftsync.Hold, letters []shiftsync.DeadLetter) ([]bool, error) {
	return slices.Repeat([]bool{s.buried}, len(letters)), s.err
}

func TestWhatCountsIsWhetherALetterIsAcknowledged(t *testing.T) {
	for _, test := range []struct {
		buried bool
		err    error
		want   string
	}{
		{true, nil, ""},
		{true, errLost, ""},
		{false, errLost, "the first of shift 4: no answer"},
		{false, nil, "2 dead letters wait: for the next pass"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.set(many(3, "A"))
			w.spoil()
			i := &incarnation{world: w, name: "worker"}
			worker := i.worker()
			worker.DeadLetters = strange{i, test.buried, test.err}
			_, err := worker.RunOnce(t.Context())
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("buried %v with the error %v: got %v", test.buried, test.err, err)
			}
		})
	}
}

func TestAWorkerThatHadNoRoomForALetterMakesUpForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.limit = 2
		w.set(many(3, "A"))
		w.buries, w.unburied, w.badShare, w.refuse["poison"] = true, true, 100, "too large"
		w.set(map[int64]string{11: "bad", 12: "bad", 13: "bad"})
		r := run(t, w, "worker")
		<-time.After(time.Minute)
		if w.epoch != 1 || len(w.waiting) != 2 {
			t.Errorf("%d letters wait; for what is left, of which no intent stands, the worker took %d epochs", len(w.waiting), w.epoch)
		}
		w.set(map[int64]string{14: "poison"})
		<-time.After(time.Minute)
		if len(w.intents) != 1 {
			t.Errorf("%d intents stand, want that of the refused record", len(w.intents))
		}
		w.mu.Lock()
		w.unburied = false
		w.mu.Unlock()
		w.set(map[int64]string{14: gone}) // nobody sees it any more
		<-time.After(time.Minute)
		if _, err := r.latest(); err != nil || len(w.intents) != 0 || len(w.letters) != 4 {
			t.Errorf("%v: %d intents stand, %d letters were taken", err, len(w.intents), len(w.letters))
		}
		_ = r.stop()
	})
}

// late takes the letters when nobody waits for them any more.
type late struct{ *incarnation }

func (l late) Bury(ctx context.Context, hold shiftsync.Hold, letters []shiftsync.DeadLetter) ([]bool, error) {
	<-ctx.Done()
	return l.incarnation.Bury(context.WithoutCancel(ctx), hold, letters)
}

func TestALetterThatWasTakenIsDroppedThoughTheWorkerWasToldToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(3, "A"))
		w.spoil()
		for id := range int64(900) {
			w.set(map[int64]string{1000 + id: "bad"}) // several pages
		}
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		worker.DeadLetters = late{i}
		_ = runFor(t, worker, 5*time.Second) // whatever it says: what counts is what is left
		if len(w.letters) == 0 || len(w.letters)+len(w.waiting) != 902 {
			t.Errorf("%d letters were taken, %d wait", len(w.letters), len(w.waiting))
		}
		tries := 0
		for _, name := range i.names {
			if name == "bury" {
				tries++
			}
		}
		if tries != 1 {
			t.Errorf("letters were tried %d times", tries)
		}
	})
}

// choosy takes letters after a while: those of odd ids, or all.
type choosy struct {
	*incarnation
	takes time.Duration
	all   bool
	taken map[int64]bool
}

func (c choosy) Bury(_ context.Context, _ shiftsync.Hold, letters []shiftsync.DeadLetter) (buried []bool, err error) {
	for _, l := range letters {
		takes := c.all || l.ID%2 == 1
		if buried = append(buried, takes); takes {
			c.taken[l.ID] = true
			continue
		}
		err = errors.New("dead/1: no leader")
	}
	<-time.After(c.takes)
	return buried, err
}

// works starts a worker whose letters go there, and stops it after a while.
func (c choosy) works(t *testing.T, after time.Duration) {
	worker := c.worker()
	worker.DeadLetters = c
	if err := runFor(t, worker, after); err != nil {
		t.Error(err)
	}
}

// runFor runs a worker, and stops it after a while.
func runFor(t *testing.T, worker *shiftsync.Worker, after time.Duration) error {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	<-time.After(after)
	stop()
	return <-ended
}

func TestLettersThatNobodyTakesDoNotKeepOthersFromTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.badShare = 1
		for id := range int64(1500) {
			w.set(map[int64]string{id + 10: "bad"})
		}
		c := choosy{incarnation: &incarnation{world: w, name: "worker"}, takes: 10 * time.Second, taken: map[int64]bool{}}
		c.works(t, 3*time.Minute)
		if len(c.taken) != 750 {
			t.Errorf("%d letters arrived, of 750 that could", len(c.taken))
		}
	})
}

func TestSlowLettersDoNotHoldUpTheNextPassForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.badShare = 1
		for id := range int64(6000) {
			w.set(map[int64]string{id + 10: "bad"})
		}
		c := choosy{incarnation: &incarnation{world: w, name: "worker"}, takes: 9 * time.Second, all: true, taken: map[int64]bool{}}
		worker := c.worker()
		worker.DeadLetters = c
		began := time.Now()
		rep, err := worker.RunOnce(t.Context())
		if took := time.Since(began); took > 40*time.Second || !errors.Is(err, shiftsync.ErrPending) || rep.Buried == 0 || rep.Unburied == 0 {
			t.Errorf("a pass took %s, %d letters were taken, %d wait: %v", took, rep.Buried, rep.Unburied, err)
		}
		c.works(t, 10*time.Minute)
		if len(c.taken) != 6000 {
			t.Errorf("in the end %d letters arrived", len(c.taken))
		}
	})
}

// weighs takes no step with more of letters than some bytes.
type weighs struct {
	shiftsync.Store
	most, heaviest int
}

func (s *weighs) Remember(ctx context.Context, term shiftsync.Term, settled []shiftsync.Settled) (int, error) {
	size := 0
	for _, one := range settled {
		if one.Letter != nil {
			size += len(one.Letter.Body)
		}
	}
	if s.heaviest = max(s.heaviest, size); size > s.most {
		return 0, errors.New("the server takes no so large a step")
	}
	return s.Store.Remember(ctx, term, settled)
}

func TestLargeLettersAreKeptInManySteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.badShare, w.buries = 1, true
		for id := range int64(8) {
			w.set(map[int64]string{id + 10: "bad" + strings.Repeat("x", 3<<20)})
		}
		i := &incarnation{world: w, name: "worker"}
		worker := i.worker()
		store := &weighs{Store: worker.Store, most: 5 << 20}
		worker.Store = store
		if rep, err := worker.RunOnce(t.Context()); err != nil || rep.Buried != 8 || store.heaviest < 3<<20 {
			t.Errorf("%d of 8 letters were taken, with steps of at most %d bytes: %v", rep.Buried, store.heaviest, err)
		}
	})
}
