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

func TestWithoutItsDeadLetterABadShiftStaysPendingAndNothingElseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.set(many(1700, "A"))
		w.spoil()
		w.unburied = true
		for _, published := range []int{1698, 0} { // the good ones are remembered
			rep, i, err := once(t, w)
			if !errors.Is(err, shiftsync.ErrPending) || !errors.Is(err, errLost) || !strings.Contains(err.Error(), "not set aside: 2, the first is shift ") {
				t.Errorf("got the error %v", err)
			}
			if rep.Published != published || rep.SetAside != 0 || rep.StillAside != 0 || rep.Unburied != 2 || rep.Pending != 1 || len(i.asides) != 0 {
				t.Errorf("got %+v, told %v, want %d published", rep, i.asides, published)
			}
		}
		inStepButFor(t, w, badID, poisonID)
		w.unburied = false
		rep := mustOnce(t, w)
		if why := w.buriedWrong(); why != "" || rep.Buried != 2 || rep.SetAside != 2 || rep.Published != 0 {
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
		if !errors.Is(err, shiftsync.ErrPending) || !errors.Is(err, errUnburiable) || !strings.Contains(err.Error(), "the first is shift 1:") {
			t.Errorf("got the error %v", err)
		}
		if rep.Buried != 5 || rep.SetAside != 5 || rep.Unburied != 1 || w.aside[1] != 0 {
			t.Errorf("got %+v", rep.Tally)
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
		tries, neighbours := 0, 0
		w.onBury = func() {
			w.mu.Lock()
			if tries++; tries == 1 {
				neighbours = len(w.shifts)
			}
			w.mu.Unlock()
			<-time.After(9 * time.Second)
		}
		began := time.Now()
		rep, _, err := once(t, w)
		if took := time.Since(began); !errors.Is(err, shiftsync.ErrPending) || took > 20*time.Second || tries != 2 {
			t.Errorf("the pass took %s and tried %d times: %v", took, tries, err)
		}
		if rep.Unburied != 52 || rep.Published != 4948 || neighbours < 400 {
			t.Errorf("got %+v; when letters were tried first, %d of their batch were remembered", rep.Tally, neighbours)
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

func (s silent) Bury(ctx context.Context, _ shiftsync.Hold, _ string, letters []shiftsync.DeadLetter) ([]bool, error) {
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
