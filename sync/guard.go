package shiftsync

import (
	"fmt"
	"time"
)

// GuardSpan is how far back tombstones count among the shifts that are gone: a wrong answer may take them away one by
// one as well as all at once.
const GuardSpan = time.Hour

// guard keeps a wrong answer, or a right to see them that has changed, from being taken for deletions.
type guard struct {
	share  float64 // Worker.GoneShare; 1 turns the guard off
	census Census
	empty  bool // the answer has no shift at all, which is no proof of anything
}

func (p *pass) guard(c Census) guard { return guard{p.GoneShare, c, p.listed == 0} }

// stops tells whether n are too many to be declared gone now, beside those that were lately. Unlike the count of the
// missing, it knows of no shift that need not be counted. A single one is no sign of anything wrong.
func (g guard) stops(n int) bool {
	sum, all := n+g.census.Ended, g.census.Expected+g.census.Ended
	return g.share < 1 && (g.empty || sum > 1 && float64(sum) > g.share*float64(all))
}

// warning says that, and what to do.
func (g guard) warning(n int) string {
	return fmt.Sprintf("of %d shifts the source says that there are none, and %d got a tombstone within %s: of %d that should be in the window "+
		"that is more than a share of %g, or the answer had no shift at all. No more are taken for gone now; if they were deleted, raise GONE_SHARE for a while",
		n, g.census.Ended, GuardSpan, g.census.Expected+g.census.Ended, g.share)
}
