package main

import (
	"context"
	"errors"
	"testing"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// aSource hands on one shift, and then ends with an error of its own, if it has one.
type aSource struct {
	shiftsync.Source
	err error
}

func (s aSource) Read(_ context.Context, _ shiftsync.Window, add func(int64, uint64, []byte) error) error {
	return errors.Join(add(1, 1, nil), s.err)
}

func (s aSource) ReadOne(context.Context, int64, func(int64, uint64, []byte) error) error {
	return s.err
}

// aStore answers that the lease is lost, or what it is told to.
type aStore struct {
	shiftsync.Store
	err error
}

func (s aStore) Lookup(context.Context, []shiftsync.Sighting, []shiftsync.Known) error { return s.err }

func TestAFaultIsThatOfWhoHasIt(t *testing.T) {
	errAPI := errors.New("502 Bad Gateway")
	taken := func(int64, uint64, []byte) error { return nil }
	for _, c := range []struct {
		claim  string
		do     func(p ports) error
		reason string
		errs   int64 // that are counted
	}{
		{"the API's", func(p ports) error {
			return watchedSource{aSource{err: errAPI}, p}.Read(t.Context(), shiftsync.Window{}, taken)
		}, atAPI, 1},
		{"a later stage's, which ends the reading", func(p ports) error {
			stage := met(atRedis, errRedis)
			return watchedSource{aSource{}, p}.Read(t.Context(), shiftsync.Window{}, func(int64, uint64, []byte) error { return stage })
		}, atRedis, 0},
		{"nobody's: there is no such shift", func(p ports) error {
			return watchedSource{aSource{err: shiftsync.ErrNoShift}, p}.ReadOne(t.Context(), 1, taken)
		}, reasonOther, 0},
		{"Redis'", func(p ports) error { return watchedStore{aStore{err: errRedis}, p}.Lookup(t.Context(), nil, nil) }, atRedis, 1},
		{"nobody's: the lease is lost", func(p ports) error {
			return watchedStore{aStore{err: shiftsync.ErrLeaseLost}, p}.Lookup(t.Context(), nil, nil)
		}, reasonLeaseLost, 0},
	} {
		t.Run(c.claim, func(t *testing.T) {
			m, r := recording(t)
			err := c.do(ports{stats: m})
			if err == nil || reasonTag(err) != c.reason {
				t.Errorf("got %v for the reason %s, want %s", err, reasonTag(err), c.reason)
			}
			if got := r.sums[metricStepErrors]; got != c.errs {
				t.Errorf("counted %d errors, want %d", got, c.errs)
			}
			if len(r.values[metricStep]) != 1 {
				t.Errorf("got the durations %v, want one", r.values[metricStep])
			}
		})
	}
}
