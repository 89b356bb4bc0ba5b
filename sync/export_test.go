package shiftsync

import "sort"

// WasSeen returns what tells whether an answer had a shift, for an answer of these.
func WasSeen(ids []int64) func(id int64) bool {
	r := &roll{}
	for _, id := range ids {
		r.seen.add(id)
	}
	sort.Sort(&r.seen)
	return r.has
}
