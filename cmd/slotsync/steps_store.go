package main

import (
	"context"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// watchedStore measures the steps in Redis. Those of the lease go on between passes too, and are not traced.
type watchedStore struct {
	shiftsync.Store
	port
}

func (s watchedStore) lease(call func() error) error {
	began := time.Now()
	err := call()
	s.stats.step(stepLease, time.Since(began), err)
	return met(s.with, err)
}

func (s watchedStore) Acquire(ctx context.Context, owner shiftsync.Owner, ttl time.Duration) (found shiftsync.Standing, err error) {
	err = s.lease(func() error {
		var err error
		found, err = s.Store.Acquire(ctx, owner, ttl)
		return err
	})
	return found, err
}

func (s watchedStore) Renew(ctx context.Context, owner shiftsync.Owner, ttl time.Duration) error {
	return s.lease(func() error { return s.Store.Renew(ctx, owner, ttl) })
}

func (s watchedStore) Release(ctx context.Context, owner shiftsync.Owner) error {
	return s.lease(func() error { return s.Store.Release(ctx, owner) })
}

func (s watchedStore) Claim(ctx context.Context, next shiftsync.Term) (int, error) {
	s.spans.beginSettling()
	end := s.begin(stepClaim, 0)
	open, err := s.Store.Claim(ctx, next)
	return open, end(err)
}

func (s watchedStore) Open(ctx context.Context, cursor uint64) ([]shiftsync.Intent, uint64, error) {
	end := s.begin(stepOpen, 0)
	intents, next, err := s.Store.Open(ctx, cursor)
	return intents, next, end(err)
}

func (s watchedStore) Intend(ctx context.Context, term shiftsync.Term, intents []shiftsync.Intent) (int, error) {
	end := s.begin(stepIntend, len(intents))
	open, err := s.Store.Intend(ctx, term, intents)
	return open, end(err)
}

func (s watchedStore) Remember(ctx context.Context, term shiftsync.Term, settled []shiftsync.Settled) (int, error) {
	end := s.begin(stepRemember, len(settled))
	open, err := s.Store.Remember(ctx, term, settled)
	return open, end(err)
}

func (s watchedStore) Lookup(ctx context.Context, sightings []shiftsync.Sighting, into []shiftsync.Known) error {
	end := s.begin(stepLookup, len(sightings))
	return end(s.Store.Lookup(ctx, sightings, into))
}

func (s watchedStore) Refresh(ctx context.Context, term shiftsync.Term, seen []shiftsync.Seen) error {
	end := s.begin(stepRefresh, len(seen))
	return end(s.Store.Refresh(ctx, term, seen))
}

func (s watchedStore) Wanted(ctx context.Context, limit int) ([]int64, error) {
	end := s.begin(stepWanted, 0)
	ids, err := s.Store.Wanted(ctx, limit)
	return ids, end(err)
}

func (s watchedStore) Unwant(ctx context.Context, term shiftsync.Term, id int64) error {
	end := s.begin(stepWanted, 1)
	return end(s.Store.Unwant(ctx, term, id))
}

func (s watchedStore) Doubt(ctx context.Context, term shiftsync.Term, pass string, doubted []shiftsync.Doubted) ([]bool, error) {
	end := s.begin(stepDoubt, len(doubted))
	again, err := s.Store.Doubt(ctx, term, pass, doubted)
	return again, end(err)
}

func (s watchedStore) Undoubt(ctx context.Context, term shiftsync.Term, ids []int64) error {
	end := s.begin(stepDoubt, len(ids))
	return end(s.Store.Undoubt(ctx, term, ids))
}

func (s watchedStore) Sweep(ctx context.Context, term shiftsync.Term, keep time.Duration, inStep bool) (int, error) {
	end := s.begin(stepSweep, 0)
	dropped, err := s.Store.Sweep(ctx, term, keep, inStep)
	return dropped, end(err)
}

func (s watchedStore) RollDue(ctx context.Context, term shiftsync.Term, every time.Duration) (bool, error) {
	end := s.begin(stepRoll, 0)
	due, err := s.Store.RollDue(ctx, term, every)
	return due, end(err)
}

func (s watchedStore) RollCalled(ctx context.Context, term shiftsync.Term, w shiftsync.Window, seen func(int64) bool) error {
	end := s.begin(stepRoll, 0)
	return end(s.Store.RollCalled(ctx, term, w, seen))
}

func (s watchedStore) Absent(ctx context.Context, w shiftsync.Window, seen func(int64) bool, tell func(shiftsync.Absent)) (shiftsync.Census, error) {
	end := s.begin(stepRoll, 0)
	census, err := s.Store.Absent(ctx, w, seen, tell)
	return census, end(err)
}

func (s watchedStore) Note(ctx context.Context, term shiftsync.Term, notes []shiftsync.Note) error {
	end := s.begin(stepRoll, len(notes))
	return end(s.Store.Note(ctx, term, notes))
}

func (s watchedStore) CountLetters(ctx context.Context) (int, error) {
	n, err := s.Store.CountLetters(ctx)
	return n, met(s.with, err)
}

func (s watchedStore) Letters(ctx context.Context, cursor uint64) ([]shiftsync.DeadLetter, uint64, error) {
	end := s.begin(stepBury, 0)
	letters, next, err := s.Store.Letters(ctx, cursor)
	return letters, next, end(err)
}

func (s watchedStore) Delivered(ctx context.Context, term shiftsync.Term, letters []shiftsync.DeadLetter) error {
	end := s.begin(stepBury, len(letters))
	return end(s.Store.Delivered(ctx, term, letters))
}

func (s watchedStore) Bind(ctx context.Context, owner shiftsync.Owner, l shiftsync.Layout, accept bool) error {
	end := s.begin(stepLayout, 0)
	return end(s.Store.Bind(ctx, owner, l, accept))
}

func (s watchedStore) Bound(ctx context.Context) (shiftsync.Layout, error) {
	end := s.begin(stepLayout, 0)
	layout, err := s.Store.Bound(ctx)
	return layout, end(err)
}

func (s watchedStore) Ends(ctx context.Context) (map[int]int64, error) {
	end := s.begin(stepLayout, 0)
	ends, err := s.Store.Ends(ctx)
	return ends, end(err)
}

func (s watchedStore) Forget(ctx context.Context, owner shiftsync.Owner) error {
	end := s.begin(stepLayout, 0)
	return end(s.Store.Forget(ctx, owner))
}
