package shiftsync

import "time"

// allowance is a token bucket that is asked and never waits: what it refuses is left to a later pass.
type allowance struct {
	tokens float64
	at     time.Time // of the last refill; zero: full
}

// take reports whether one more may go, at rate a second and at most burst at once.
func (a *allowance) take(now time.Time, rate, burst float64) bool {
	if a.at.IsZero() {
		a.tokens = burst
	} else {
		a.tokens = min(burst, a.tokens+rate*now.Sub(a.at).Seconds())
	}
	a.at = now
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}
