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
	maxAttempts = 4                // of one request, renewed tokens not counted
	maxWait     = time.Minute      // between two attempts
	minHold     = 30 * time.Second // after a refusal; doubled with each one that follows
	maxHold     = 15 * time.Minute
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
	waits := backoff.ExponentialBackOff{
		InitialInterval:     time.Second,
		RandomizationFactor: 0.5,
		Multiplier:          2,
		MaxInterval:         15 * time.Second,
	}
	waits.Reset()
	renewed := false
	for attempt := 1; ; attempt++ {
		f := c.attempt(ctx, token, q, add)
		switch {
		case f == nil:
			c.hold.end()
			return nil
		case f.verdict == stopped:
			return f.err
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", c.name(q), context.Cause(ctx))
		}
		if f.verdict == refused && !renewed {
			renewed = true
			other, err := c.tokenFor(ctx, token)
			if err != nil {
				return err
			}
			if other != token {
				token = other
				attempt--
				continue
			}
		}
		retry := (f.verdict == again || f.verdict == busy) && f.wait <= maxWait
		if retry && attempt < maxAttempts {
			if err := sleep(ctx, max(waits.NextBackOff(), f.wait)); err != nil {
				return fmt.Errorf("%s: %w", c.name(q), err)
			}
			continue
		}

		err := fmt.Errorf("%s: %w", c.name(q), f.err)
		if retry {
			err = fmt.Errorf("%s: gave up after %d attempts: %w", c.name(q), attempt, f.err)
		}
		switch {
		case f.verdict == refused:
			c.hold.begin(f, token)
		case f.verdict == away || f.verdict == busy || f.wait > maxWait:
			c.hold.begin(f, "")
		}
		return err
	}
}

func (c *Client) tokenFor(ctx context.Context, refused string) (string, error) {
	token, err := c.token(ctx, refused)
	if err == nil && token == "" {
		err = errors.New("none; set WIW_KEY")
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

// hold keeps a client from asking an API that wants to be left alone.
type hold struct {
	mu    sync.Mutex // guards all below
	until time.Time
	step  time.Duration // length of the last hold; 0 after a good answer
	cause error
	token string // if not empty, only this token is held back
}

// begin starts a hold: as long as the API asked for and longer each time, within limits.
func (h *hold) begin(f *failure, token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.step = min(maxHold, max(minHold, 2*h.step))
	h.until = time.Now().Add(min(maxHold, max(h.step, f.wait)))
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
