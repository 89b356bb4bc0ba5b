package shiftsync

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	leaseTTL     = 12 * time.Second
	leaseRenew   = 4 * time.Second // a third of the TTL: two renewals may go astray
	leaseRetry   = 2 * time.Second // of a standby: with the TTL, a killed worker is replaced within 14 s
	leasePause   = time.Second     // after a renewal that was not answered
	oncePatience = 20 * time.Second
	tellAgain    = 10 * time.Second // at least, between two words about the same trouble
)

// HeldError says that another worker holds the lease and did not give it up in time.
type HeldError struct {
	Holder string
	Waited time.Duration
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("waited %s for the lease: it is held by %s", e.Waited, e.Holder)
}

// ErrNotReleased says that the lease could not be given back, so that the next worker has to wait for its end.
var ErrNotReleased = errors.New("the lease was not given back, and ends by itself within 12 s")

// tenure is one stretch of holding the lease, and what the worker knows only for as long as that.
type tenure struct {
	owner Owner
	until atomic.Pointer[time.Time] // the lease's end; counted monotonically from before it was asked for
	lost  atomic.Bool
	found Standing // when the lease was taken

	term      Term // Claim is empty until the worker has taken over
	claiming  Term // a claim whose epoch was taken and that was not answered yet; Claim is empty: none
	layout    Layout
	maxRecord int // bytes; the last that the broker told
	open      atomic.Int64
	doubt     atomic.Bool // an intent may stand that no batch in hand will end
	displaced atomic.Bool // fenced: the next pass has to take over anew
	marks     uint64      // mark of the batch that is being collected
	letters   uint64      // cursor of the dead letters whose turn is next
	allowance allowance
	memory    memory
}

// Err returns ErrLeaseLost once the lease is over. A worker that was paused learns of it here and not from a timer
// that comes late.
func (t *tenure) Err() error {
	if t.lost.Load() || !time.Now().Before(*t.until.Load()) {
		return ErrLeaseLost
	}
	return nil
}

func (t *tenure) extend(asked time.Time) {
	until := asked.Add(leaseTTL)
	t.until.Store(&until)
}

// hold waits for the lease, at most for patience if that is positive, and calls body while it lasts. Both contexts of
// body end when the lease is lost. The first one, stop, also ends when the worker is asked to stop, and body is to
// finish what it has in hand; the second one ends when two thirds of StopTimeout have passed since, and body drops it.
// The rest is for remembering what was acknowledged and for giving back the lease.
func (w *Worker) hold(ctx context.Context, patience time.Duration, body func(stop, ctx context.Context, t *tenure) error) error {
	t, err := w.acquire(ctx, patience)
	if err != nil {
		return err
	}
	w.Observer.Acquired(t.found)
	work, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop, halt := context.WithCancelCause(ctx)
	var over time.Time // when a stop has to be over; zero: nobody has asked
	var watchers sync.WaitGroup
	watchers.Go(func() {
		if err := w.keep(work, t); err != nil {
			halt(err)
			end(err)
		}
	})
	watchers.Go(func() {
		select {
		case <-work.Done():
		case <-stop.Done():
			over = time.Now().Add(w.StopTimeout)
			if patience := w.StopTimeout * 2 / 3; wait(work, patience) == nil {
				end(fmt.Errorf("dropped what was in hand %s after being asked to stop: %w", patience, context.DeadlineExceeded))
			}
		}
	})
	err = body(stop, work, t)
	halt(nil)
	end(nil)
	watchers.Wait()

	if t.Err() != nil {
		w.Observer.Lost()
		return errors.Join(err, ErrLeaseLost)
	}
	// A store that hangs may have kept its last caller waiting for longer than it was to: what is left is left.
	left := w.lastStep()
	if !over.IsZero() {
		left = min(left, time.Until(over))
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), left)
	defer cancel()
	if e := w.Store.Release(bounded, t.owner); e != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", ErrNotReleased, e))
	}
	return err
}

// lastStep is how long each of the two steps may take that a stop waits for to the last: to remember what was
// acknowledged, and to give back the lease. Since the first is also taken while nobody stops, it has a floor.
func (w *Worker) lastStep() time.Duration { return max(w.StopTimeout/6, time.Second) }

// acquire asks for the lease until it has it. With patience, one error ends the waiting; without, it is told from time
// to time and the asking goes on at the same pace, since the holder may die just when Redis is back.
func (w *Worker) acquire(ctx context.Context, patience time.Duration) (*tenure, error) {
	began, told := time.Now(), time.Time{}
	t := &tenure{owner: Owner{Token: newToken(), Name: w.Name}, memory: newMemory()}
	t.term.Owner = t.owner.Token
	for {
		asked := time.Now()
		found, err := w.Store.Acquire(ctx, t.owner, leaseTTL)
		pause := leaseRetry
		switch {
		case err != nil && patience > 0:
			return nil, fmt.Errorf("acquire lease: %w", err)
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx) // whatever Redis said meanwhile
		case err != nil:
			w.Observer.Unanswered()
			if told.IsZero() || time.Since(told) >= max(w.Sleep, tellAgain) {
				told = time.Now()
				w.Observer.Done(Report{}, fmt.Errorf("acquire lease: %w", err))
			}
		case found.Holder == "":
			t.extend(asked)
			t.found = found
			t.open.Store(int64(found.Open)) // until they are claimed nobody else ends any
			return t, nil
		default:
			w.Observer.Standby(found)
			waited := time.Since(began)
			if patience > 0 && waited >= patience {
				return nil, &HeldError{Holder: found.Holder, Waited: waited.Round(time.Second)}
			}
			if patience > 0 {
				pause = min(pause, patience-waited)
			}
		}
		if err := wait(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// keep renews the lease until ctx ends, or returns why it could not.
func (w *Worker) keep(ctx context.Context, t *tenure) error {
	pause := leaseRenew
	for wait(ctx, pause) == nil {
		asked := time.Now()
		bounded, cancel := context.WithTimeout(ctx, leaseRenew)
		err := w.Store.Renew(bounded, t.owner, leaseTTL)
		cancel()
		switch {
		case err == nil && t.Err() == nil:
			t.extend(asked)
			pause = leaseRenew
		case errors.Is(err, ErrLeaseLost), t.Err() != nil:
			// Over is over: a renewal that was answered late does not bring it back.
			t.lost.Store(true)
			return errors.Join(ErrLeaseLost, err)
		default:
			pause = leasePause
		}
	}
	return nil
}

// wait returns nil after d, or why ctx ended before that.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// newToken returns 16 random hexadecimal digits.
func newToken() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never returns an error: crypto/rand
	return hex.EncodeToString(b[:])
}

// newMark returns a random mark to count on from, so that no two terms ever give out the same.
func newMark() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never returns an error: crypto/rand
	return binary.BigEndian.Uint64(b[:])
}
