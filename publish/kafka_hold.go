package publish

import (
	"sync"
	"time"
)

const (
	firstHold = 30 * time.Second
	lastHold  = 15 * time.Minute
)

// hold remembers that a secret was refused, and answers in the place of who refused it: to show it again and again may
// lock the account. It ends after a while, which grows with each refusal in a row, or as soon as the secret is another one.
type hold struct {
	mu     sync.Mutex // guards what follows
	err    error      // the last refusal; nil: none
	secret string     // that was refused
	until  time.Time
	wait   time.Duration // of the last refusal
}

// refusal is what was said of the secret when it was shown the last time; nil: it may be shown now.
func (h *hold) refusal(secret string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil || h.secret != secret || !time.Now().Before(h.until) {
		return nil
	}
	return h.err
}

// refused begins a hold, which lasts for most at the longest. What is refused meanwhile, to those who were on their way
// already, does not prolong it.
func (h *hold) refused(secret string, err error, most time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch now := time.Now(); {
	case h.err == nil || h.secret != secret:
		h.wait = firstHold
	case now.Before(h.until):
		return
	default:
		h.wait = min(2*h.wait, most)
	}
	h.err, h.secret, h.until = err, secret, time.Now().Add(h.wait)
}

// accepted forgets what was refused.
func (h *hold) accepted() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.secret = nil, ""
}
