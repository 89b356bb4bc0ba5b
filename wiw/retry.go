package wiw

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	maxAttempts = 4           // of one request, renewed tokens not counted
	maxWait     = time.Minute // between two attempts
)

// verdict is what an attempt that went wrong says about the next one.
type verdict uint8

const (
	final   verdict = iota // it would go wrong again
	again                  // the fault may pass
	busy                   // the fault may pass, but the API has too much of us
	away                   // the API wants to be left alone for longer than a pass should wait
	refused                // the token is not, or no longer, good
	stopped                // our own side ended it; its error is returned as it is
)

// failure is an attempt that went wrong.
type failure struct {
	verdict verdict
	wait    time.Duration // that the API asked for
	err     error
}

// read asks until the answer was whole, or there is no sense in asking again.
func (c *Client) read(ctx context.Context, q question, add func(int64, uint64, []byte) error) error {
	token, err := c.tokenFor(ctx, "")
	if err != nil {
		return err
	}
	if err := c.hold.check(token); err != nil {
		return fmt.Errorf("%s: %w", c.name(q), err)
	}
	hold, try := &c.hold, c.onRetry.persist
	if q.id != 0 { // trouble with one shift is no reason to leave the window alone, or to keep its pass waiting
		hold, try = &c.holdOne, tryOnce
		if err := hold.check(token); err != nil {
			return fmt.Errorf("%s: %w", c.name(q), err)
		}
	}
	renewed := false
	f, err := try(ctx, c.name(q), func() *failure {
		f := c.attempt(ctx, token, q, add)
		if f == nil || f.verdict != refused || renewed || ctx.Err() != nil {
			return f
		}
		renewed = true
		other, err := c.tokenFor(ctx, token)
		switch {
		case err != nil:
			return &failure{verdict: stopped, err: err}
		case other == token:
			return f
		}
		token = other
		return c.attempt(ctx, token, q, add)
	})
	switch {
	case f == nil, q.id != 0 && aboutOne(err):
		hold.end()
	case f.verdict == refused:
		hold.begin(f, token)
	case f.wantsRest(), q.id != 0 && f.verdict != stopped: // the next shift would only wait as long
		hold.begin(f, "")
	}
	return err
}

// persistence is told of each attempt that went wrong and is followed by another after the wait; nil: nobody is.
type persistence func(err error, wait time.Duration)

// persist makes attempts until one goes well, or until there is no sense in another. It returns how the last one went
// wrong, and an error that says which request it was.
func (told persistence) persist(ctx context.Context, name string, attempt func() *failure) (*failure, error) {
	waits := backoff.ExponentialBackOff{
		InitialInterval:     time.Second,
		RandomizationFactor: 0.5,
		Multiplier:          2,
		MaxInterval:         15 * time.Second,
	}
	waits.Reset()
	for n := 1; ; n++ {
		f := attempt()
		switch {
		case f == nil:
			return nil, nil
		case f.verdict == stopped:
			return f, f.err
		case ctx.Err() != nil:
			return &failure{verdict: stopped}, fmt.Errorf("%s: %w", name, context.Cause(ctx))
		case f.verdict != again && f.verdict != busy || f.wait > maxWait:
			return f, fmt.Errorf("%s: %w", name, f.err)
		case n == maxAttempts:
			return f, fmt.Errorf("%s: gave up after %d attempts: %w", name, n, f.err)
		}
		pause := max(waits.NextBackOff(), f.wait)
		if told != nil {
			told(fmt.Errorf("%s: %w", name, f.err), pause)
		}
		if err := sleep(ctx, pause); err != nil {
			return &failure{verdict: stopped}, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// wantsRest tells whether whoever answered wants to hear nothing for a while, whatever it would be asked.
func (f *failure) wantsRest() bool {
	return f.verdict == away || f.verdict == busy || f.verdict == again && f.wait > maxWait
}

func (c *Client) tokenFor(ctx context.Context, refused string) (string, error) {
	token, err := c.token(ctx, refused)
	if err == nil && token == "" {
		err = errors.New("none; set WIW_KEY, or a login")
	}
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	return token, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hold keeps a client from asking somebody who wants to be left alone.
type hold struct {
	least, most time.Duration // of one hold

	mu    sync.Mutex // guards all below
	until time.Time
	step  time.Duration // length of the last hold; 0 after a good answer
	cause error
	token string // if not empty, only who comes with it is held back
}

// begin starts a hold: as long as was asked for and longer each time, within limits.
func (h *hold) begin(f *failure, token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.step = min(h.most, max(h.least, 2*h.step))
	h.until = time.Now().Add(min(h.most, max(h.step, f.wait)))
	h.cause, h.token = f.err, token
}

// check returns an error while requests with token are to be held back.
func (h *hold) check(token string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.token != "" && h.token != token || !time.Now().Before(h.until) {
		return nil
	}
	return fmt.Errorf("not asked again before %s: %w", h.until.UTC().Format(time.RFC3339), h.cause)
}

// end forgets earlier refusals.
func (h *hold) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until, h.step, h.cause, h.token = time.Time{}, 0, nil, ""
}
