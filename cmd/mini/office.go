package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

const (
	madeShifts = 240
	deedEvery  = 1500 * time.Millisecond
)

// planner edits shifts as people in an office do, one after the other.
type planner struct {
	api   *wiwtest.Server
	seed  uint64
	r     *rand.Rand
	added int
	undo  *shiftsync.Shift // as it was before the last edit of notes
}

func newPlanner(api *wiwtest.Server, seed uint64) *planner {
	return &planner{api: api, seed: seed, r: rand.New(rand.NewPCG(seed, 2))}
}

// begin lets the planner plan until ctx ends or end is called, which waits for it.
func (p *planner) begin(ctx context.Context) (deeds <-chan string, end func()) {
	ctx, stop := context.WithCancel(ctx)
	say, done := make(chan string), make(chan struct{})
	go func() {
		defer close(done)
		p.plan(ctx, say)
	}()
	return say, func() {
		stop()
		<-done
	}
}

// plan does something every deedEvery, and says what, until ctx ends.
func (p *planner) plan(ctx context.Context, say chan<- string) {
	tick := time.NewTicker(deedEvery)
	defer tick.Stop()
	// Notes are put back so late that the worker has seen the edit: the topic goes from A to B and to A again.
	for deeds := []func() string{p.note, p.move, p.add, p.putBack, p.handOver, p.touch, p.takeAway}; ; {
		for _, do := range deeds {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			deed := do()
			select {
			case <-ctx.Done():
				return
			case say <- deed:
			}
		}
	}
}

func (p *planner) note() string {
	s := p.pick()
	p.undo = &s
	edited := s
	notes := []string{"bring the keys", "swapped with Bo", "training at noon", "inventory\nand till 2"}
	edited.Notes = notes[p.r.IntN(len(notes))]
	if edited.Notes == s.Notes {
		edited.Notes += "!"
	}
	p.save(edited)
	return fmt.Sprintf("writes a note to shift %d", s.ID)
}

func (p *planner) putBack() string {
	s := *p.undo
	p.undo = nil
	p.save(s)
	return fmt.Sprintf("takes the note to shift %d back", s.ID)
}

func (p *planner) move() string {
	s := p.pick()
	s.StartTime, s.EndTime = s.StartTime.Add(time.Hour), s.EndTime.Add(time.Hour)
	p.save(s)
	return fmt.Sprintf("moves shift %d by an hour", s.ID)
}

func (p *planner) handOver() string {
	s := p.pick()
	s.UserID++
	p.save(s)
	return fmt.Sprintf("gives shift %d to somebody else", s.ID)
}

func (p *planner) touch() string {
	s := p.pick()
	p.save(s)
	return fmt.Sprintf("saves shift %d as it is", s.ID)
}

func (p *planner) add() string {
	now := time.Now().UTC().Truncate(time.Hour)
	s, shape := wiwtest.Made(p.seed, madeShifts+p.added, now, now.Add(40*time.Hour))
	p.added++
	p.api.Put(s, shape)
	return fmt.Sprintf("adds shift %d", s.ID)
}

func (p *planner) takeAway() string {
	s := p.pick()
	p.api.Delete(s.ID)
	return fmt.Sprintf("takes shift %d away", s.ID)
}

// pick returns a shift of the next hours that is written in the newest shape, so that it can be saved in it without
// becoming another one.
func (p *planner) pick() shiftsync.Shift {
	now := time.Now()
	shifts := p.api.Truth(shiftsync.Window{Start: now, End: now.Add(40 * time.Hour)}, "open", "unpublished")
	maps.DeleteFunc(shifts, func(id int64, s shiftsync.Shift) bool {
		return !s.IsShared.Set || p.undo != nil && p.undo.ID == id
	})
	if len(shifts) == 0 {
		p.add()
		return p.pick()
	}
	ids := slices.Sorted(maps.Keys(shifts))
	return shifts[ids[p.r.IntN(len(ids))]]
}

func (p *planner) save(s shiftsync.Shift) {
	was, _ := p.api.Get(s.ID)
	s.UpdatedAt = time.Now().UTC().Truncate(time.Second)
	if !s.UpdatedAt.After(was.UpdatedAt) { // a made-up one may lie ahead, and an edit that looks old is held back
		s.UpdatedAt = was.UpdatedAt.Add(time.Second)
	}
	p.api.Put(s, wiwtest.Shape2025)
}
