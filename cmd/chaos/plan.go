//go:build linux

package main

import (
	"math/rand/v2"
	"strings"
)

// plan is the order in which faults strike. It hangs on the seed alone, and so does the chance within each strike.
type plan struct {
	seed   uint64
	strike uint64 // number of the next one
	bags   [2]bag // deadly and harmful ones, by turns
}

// bag gives out all faults that are in it, by chance, before it gives one out again as often.
type bag struct {
	faults []fault
	r      *rand.Rand
	rest   []fault
}

// newPlan makes a plan of those faults whose name has one of the words in it; no words: of all.
func newPlan(seed uint64, words []string) *plan {
	p := &plan{seed: seed}
	for i, faults := range [][]fault{deadly(), harmful()} {
		p.bags[i].r = rand.New(rand.NewPCG(seed, uint64(i)))
		for _, f := range faults {
			if meant(f.name, words) {
				p.bags[i].faults = append(p.bags[i].faults, f)
			}
		}
	}
	return p
}

func meant(name string, words []string) bool {
	for _, w := range words {
		if strings.Contains(strings.ToLower(name), strings.ToLower(w)) {
			return true
		}
	}
	return len(words) == 0
}

// empty tells whether there is no fault in it.
func (p *plan) empty() bool { return len(p.bags[0].faults)+len(p.bags[1].faults) == 0 }

// next returns the next fault, and chance for it.
func (p *plan) next() (fault, *rand.Rand) {
	b := &p.bags[p.strike%2]
	if len(b.faults) == 0 {
		b = &p.bags[(p.strike+1)%2]
	}
	p.strike++
	return b.draw(), rand.New(rand.NewPCG(p.seed, 1000+p.strike))
}

func (b *bag) draw() fault {
	if len(b.rest) == 0 {
		for _, f := range b.faults {
			for range f.weight {
				b.rest = append(b.rest, f)
			}
		}
		b.r.Shuffle(len(b.rest), func(i, j int) { b.rest[i], b.rest[j] = b.rest[j], b.rest[i] })
	}
	f := b.rest[0]
	b.rest = b.rest[1:]
	return f
}
