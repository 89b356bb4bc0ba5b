package cache

import "iter"

// packed holds the arguments of a step for many shifts: their values in one piece of memory, since a value apart for each
// shift is what costs. It is used again from one step to the next.
type packed struct {
	args   []any
	buf    []byte
	cuts   []int
	values []value
}

// value is a part of what was packed. As an argument it needs no box.
type value []byte

// MarshalBinary implements encoding.BinaryMarshaler, by which the client asks for the bytes before it returns.
func (v *value) MarshalBinary() ([]byte, error) { return *v, nil }

// pack returns an empty one, which unpack takes back.
func (r *Redis) pack() *packed {
	p, ok := r.packs.Get().(*packed)
	if !ok {
		p = &packed{}
	}
	p.args, p.buf, p.cuts, p.values = p.args[:0], p.buf[:0], p.cuts[:0], p.values[:0]
	return p
}

// unpack is to be called when the step has been answered.
func (r *Redis) unpack(p *packed) {
	clear(p.args) // which may point to all of a batch
	r.packs.Put(p)
}

// add takes buf as it was grown by one value.
func (p *packed) add(grown []byte) {
	p.buf = grown
	p.cuts = append(p.cuts, len(grown))
}

// all returns the values in the order in which they were added. No other may be added after it.
func (p *packed) all() iter.Seq2[int, *value] {
	if len(p.values) == 0 {
		from := 0
		for _, to := range p.cuts {
			p.values = append(p.values, p.buf[from:to:to])
			from = to
		}
	}
	return func(yield func(int, *value) bool) {
		for i := range p.values {
			if !yield(i, &p.values[i]) {
				return
			}
		}
	}
}
