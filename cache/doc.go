// Package cache keeps in Redis what was last acknowledged: state, not a cache to evict from.
//
// It holds, for one destination, the version of each shift that the broker acknowledged last, the intents that were not
// settled yet, what was set aside, and the lease of the one worker that may write. Losing it costs repeats, and may
// cost a change whose shift has left the window; so nothing but the lease has a time to live (a key with one may also
// be evicted under the policies named volatile-*), the server's maxmemory-policy should be noeviction, and its
// append-only file should be on.
//
// # Keys
//
// All keys of a destination begin with slotsync:{<destination>}: and share a hash tag, so that they lie on one node of a
// cluster and a step can be one script. They are
//
//	lease    hash: owner (token), name, claim, step; the only key with a time to live
//	shifts   hash: shift id to what is remembered of it or, once that is forgotten, to a stub that says when the shift is,
//	         so that it is missed if it does not come again
//	intents  hash: shift id to the intent that stands
//	aside    hash: shift id, or # and the raw hash of a shift without one, to what was set aside and why
//	wanted   hash: id of a shift that somebody wants published again to nothing or, once one stands, to what the
//	         intent that serves the wish begins with
//	layout   hash: what must not change
//	ends     hash: partition to its highest acknowledged offset
//	swept    seconds since 1970 of the last sweep
//	in_step  seconds since 1970 when a pass last left nothing undone; before the first one, of the first lease, and below zero
//	called   seconds since 1970 of the last look for missing shifts
//	missing  hash: id of a remembered shift that answers lack to what it was when it was asked for, and when to ask again
//	doubted  hash: shift id to a version that was read and is older than a known one, and the pass that read it
//	letters  hash: shift id, # and the raw hash of a version that was set aside to its dead letter, until that is acknowledged
//
// One hash for all shifts is what makes the protocol cheap: it is read with HMGET, written with one HSET a batch and
// needs half the memory of a key a shift. The price is that its fields have no time to live. So each says when its
// shift was last seen, by the clock of Redis, and Sweep drops the old ones.
//
// What is left behind by a destination that nobody writes any more stays until it is removed by hand.
//
// # Steps
//
// Each step is one Lua script that first checks the lease, and the claim where there is one, and then does all or
// nothing. A sweep is many of them, and so is the forgetting that a claim ends with: a server serves nobody else while a
// script runs, so that none may be longer than a page of some hundred shifts.
//
// When memory is short, Redis refuses the first command of a script that needs memory, and what a script has begun to
// write it lets it finish. So all steps that give memory back, and those that lead to them, begin with a deletion: what
// stands can be taken over, settled and swept on a full server, where nothing new can be intended.
//
// A claim lives and dies with its lease: who let the lease run out and takes it again has to claim again, since somebody
// else may have worked in between.
//
// An answer can get lost, and a command whose answer nobody awaits any more can still be carried out, late. For most
// steps that does no harm: what they did is done, or the mark is gone. A late copy of an intent would stand again, or
// replace a newer one. So Claim and Intend are numbered, one is on its way at a time, and the lease remembers the last
// number: the same again is answered and does nothing, an older one is refused.
package cache
