package shiftsync

import (
	"context"
	"errors"
	"time"
)

// Worker keeps one destination in step with one source. Its fields are set before the first call and not changed.
type Worker struct {
	Source    Source
	Encoder   Encoder
	Publisher Publisher
	Store     Store
	Observer  Observer
	// DeadLetters gets each bad version. nil: it is only remembered as set aside.
	DeadLetters DeadLetters

	Name          string        // of this worker, for people: it stands in the lease
	DaysPrior     int           // days before now that the window covers
	DaysAhead     int           // days after now that the window covers
	Sleep         time.Duration // from the end of a pass to the beginning of the next
	Keep          time.Duration // how long a shift is remembered after it was last seen; never less than the window
	PendingLimit  int           // open intents above which nothing new is collected; dead letters that may wait
	RepublishRate float64       // shifts a second that differ in nothing but their schema
	BadShare      float64       // share of shifts set aside, of those fetched, above which a pass fails
	Deletes       Deletes       // what is done about shifts that vanished
	GoneShare     float64       // share of missing shifts, of those remembered in the window, above which none is taken for gone
	StopTimeout   time.Duration // longest from being asked to stop to the end
	Partition     string        // Layout.Fixed
	AcceptLayout  bool          // take a changed Layout for granted and republish

	knewLayout bool // a layout was bound once; of the passes alone
}

// ErrPending says that a pass decided everything, and that something it decided is still to be published.
var ErrPending = errors.New("something stays pending")

// ErrPendingLimit says that the limit of open intents was reached, so that what changed could not be collected.
var ErrPendingLimit = errors.New("the limit of pending shifts is reached")

// ErrTooManyBad says that more shifts of an answer were bad than one would put down to single mistakes.
var ErrTooManyBad = errors.New("too many bad shifts")

// RunOnce takes the lease, does one pass and gives the lease back. It waits up to 20 seconds for another worker and
// then returns a *HeldError.
//
// The error wraps ErrPending if the pass read and decided everything but could not publish all of it, or lacks the
// acknowledgement of a dead letter. It is
// ErrPendingLimit or ErrTooManyBad for what they say. Any other means that the answer was not read whole, or that
// nothing could be decided.
func (w *Worker) RunOnce(ctx context.Context) (rep Report, err error) {
	err = w.hold(ctx, oncePatience, func(stop, ctx context.Context, t *tenure) error {
		var err error
		rep, err = w.pass(stop, ctx, t)
		return err
	})
	w.Observer.Done(rep, err)
	return rep, err
}

// Run does a pass at once and then another one Sleep after the end of the last, until ctx ends. What fails is told
// to the Observer and tried again. It returns nil, or what went wrong with stopping: ErrNotReleased, for one.
func (w *Worker) Run(ctx context.Context) error {
	for {
		err := w.hold(ctx, 0, w.passes)
		if ctx.Err() != nil {
			if errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx)) {
				return nil // nothing was in hand
			}
			return err
		}
		if err != nil && !errors.Is(err, ErrLeaseLost) { // a lost lease has been told of
			w.Observer.Done(Report{}, err)
			_ = wait(ctx, max(w.Sleep, afterFailure))
		}
	}
}

// afterFailure is the least wait after a pass that failed, however short Sleep is.
const afterFailure = time.Second

// passes does passes for as long as the lease lasts and nobody asks it to stop.
func (w *Worker) passes(stop, ctx context.Context, t *tenure) error {
	var rival rivalry
	for stop.Err() == nil {
		rep, err := w.pass(stop, ctx, t)
		if !errors.Is(err, errStopped) {
			w.Observer.Done(rep, err)
		}
		delay := w.Sleep
		if err != nil {
			delay = max(delay, afterFailure)
		}
		if errors.Is(err, ErrFenced) {
			delay = rival.delay(time.Now(), w.Sleep)
		}
		w.idle(stop, ctx, t, delay)
	}
	return nil
}

// idle waits for d and keeps the producer's epoch alive meanwhile, however long that is.
func (w *Worker) idle(stop, ctx context.Context, t *tenure, d time.Duration) {
	const renewCheck = time.Minute
	for end := time.Now().Add(d); ; {
		if wait(stop, min(time.Until(end), renewCheck)) != nil || !time.Now().Before(end) {
			return
		}
		if t.term.Claim != "" && errors.Is(w.Publisher.Renew(ctx), ErrFenced) {
			return // the next pass meets it again and says so
		}
	}
}

// rivalry counts how often a worker was fenced while it held the lease: another one, outside this Redis, uses the same
// transactional id. Two that keep displacing each other get nothing done, so the pause after each time grows.
type rivalry struct {
	times int
	last  time.Time
}

func (r *rivalry) delay(now time.Time, sleep time.Duration) time.Duration {
	const longest, forgotten = 10 * time.Minute, time.Hour
	if now.Sub(r.last) > forgotten {
		r.times = 0
	}
	r.times++
	r.last = now
	delay := max(sleep, time.Second)
	for range r.times {
		if delay *= 2; delay >= longest {
			return longest
		}
	}
	return delay
}
