package wiw_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// readOne returns the one shift that is read, if it is.
func readOne(t *testing.T, client *wiw.Client, id int64) (got shiftsync.Shift, hash uint64, err error) {
	t.Helper()
	err = client.ReadOne(t.Context(), id, func(told int64, h uint64, raw []byte) error {
		hash = h
		if told != id {
			t.Errorf("asked for %d, told of %d", id, told)
		}
		return client.Parse(raw, &got)
	})
	return got, hash, err
}

func TestOneShiftIsReadLikeThoseOfAList(t *testing.T) {
	server := wiwtest.New(wiwtest.Options{Token: token, Shifts: 40})
	client := newClient(t, server, wiw.Config{Rate: 6000})
	hashes := map[int64]uint64{}
	err := client.Read(t.Context(), month, func(id int64, hash uint64, _ []byte) error {
		hashes[id] = hash
		return nil
	})
	if err != nil || len(hashes) == 0 {
		t.Fatalf("the list has %d shifts, %v", len(hashes), err)
	}
	for id, listed := range hashes {
		got, hash, err := readOne(t, client, id)
		if want, _ := server.Get(id); err != nil || got.ID != id || !got.UpdatedAt.Equal(want.UpdatedAt) || hash != listed {
			t.Errorf("shift %d: got %+v with hash %x, %v; in the list its hash is %x", id, got, hash, err, listed)
		}
	}
}

func TestAnAnswerAboutOneShiftIsBelievedOnlyWhenItIsWhole(t *testing.T) {
	for _, test := range []struct {
		claim string
		fault wiwtest.Fault
		want  error // ErrNoShift, ErrNotShown or, for any other, nil
	}{
		{claim: "the API knows no such shift", fault: wiwtest.Status(http.StatusNotFound, `{"error":"No shift found","code":4005}`), want: shiftsync.ErrNoShift},
		{claim: "the same with its code as text", fault: wiwtest.Status(http.StatusNotFound, `{"error":"No shift found","code":"4005"}`), want: shiftsync.ErrNoShift},
		{claim: "the same with a status that says more", fault: wiwtest.Status(http.StatusGone, `{"error":"No shift found","code":4005}`), want: shiftsync.ErrNoShift},
		{claim: "the same with another status", fault: wiwtest.Status(http.StatusBadRequest, `{"error":"No shift found","code":4005}`), want: shiftsync.ErrNotShown},
		{claim: "the same in a good answer", fault: wiwtest.Body(`{"error":"No shift found","code":4005}`), want: shiftsync.ErrNotShown},
		{claim: "the same from a server in trouble", fault: wiwtest.Status(http.StatusServiceUnavailable, `{"error":"No shift found","code":4005}`), want: shiftsync.ErrNotShown},
		{claim: "words without the code", fault: wiwtest.Status(http.StatusNotFound, `{"error":"No shift found"}`), want: shiftsync.ErrNotShown},
		{claim: "the code of something else", fault: wiwtest.Status(http.StatusNotFound, `{"error":"Not found","code":404}`), want: shiftsync.ErrNotShown},
		{claim: "a 404 of nobody knows whom", fault: wiwtest.Status(http.StatusNotFound, ``)},
		{claim: "a gateway does not know the address", fault: wiwtest.HTML(http.StatusNotFound)},
		{claim: "another shift", fault: wiwtest.Body(`{"shift":{"id":4711}}`)},
		{claim: "no shift", fault: wiwtest.Body(`{"shift":null}`)},
		{claim: "nothing", fault: wiwtest.Body(`{}`)},
		{claim: "a list", fault: wiwtest.Body(`{"shifts":[]}`)},
		{claim: "an error beside it", fault: wiwtest.Body(`{"error":"oh","shift":{"id":1}}`)},
		{claim: "no right to it", fault: wiwtest.Status(http.StatusForbidden, `{"error":"no permission","code":3005}`), want: shiftsync.ErrNotShown},
		{claim: "throttled", fault: wiwtest.Status(http.StatusForbidden, `{"error":"slow down"}`)},
		{claim: "cut off", fault: wiwtest.Body(`{"shift":{"id":1}`)},
	} {
		synctest.Test(t, func(t *testing.T) {
			answer := func(w http.ResponseWriter, r *http.Request) { test.fault(w, r, nil) }
			client := newClient(t, http.HandlerFunc(answer), wiw.Config{})
			_, _, err := readOne(t, client, 1)
			if err == nil || errors.Is(err, shiftsync.ErrNoShift) != (test.want == shiftsync.ErrNoShift) ||
				errors.Is(err, shiftsync.ErrNotShown) != (test.want == shiftsync.ErrNotShown) {
				t.Errorf("%s: got %v", test.claim, err)
			}
		})
	}
}

func TestTroubleWithOneShiftDoesNotStopTheWindow(t *testing.T) {
	for _, fault := range []wiwtest.Fault{
		wiwtest.Status(http.StatusForbidden, `{"error":"slow down"}`), wiwtest.Throttled("120"), wiwtest.Status(http.StatusUnauthorized, `{}`),
	} {
		synctest.Test(t, func(t *testing.T) {
			server := wiwtest.New(wiwtest.Options{Token: token, Shifts: 5})
			var singles atomic.Int64
			answer := func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/2/shifts" {
					server.ServeHTTP(w, r)
					return
				}
				singles.Add(1)
				fault(w, r, nil)
			}
			client := newClient(t, http.HandlerFunc(answer), wiw.Config{})
			if _, _, err := readOne(t, client, 1); err == nil {
				t.Fatal("no trouble")
			}
			asked := singles.Load()
			if got, err := readAll(client, month); err != nil || len(got) != 5 {
				t.Errorf("the window: got %d shifts, %v", len(got), err)
			}
			if _, _, err := readOne(t, client, 2); err == nil || singles.Load() != asked {
				t.Errorf("the next one was asked for at once: %v", err)
			}
		})
	}
}

// A pass waits for each single shift, and would wait long for each of many.
func TestAServerThatFailsIsAskedForOneShiftOnce(t *testing.T) {
	for claim, fault := range map[string]wiwtest.Fault{
		"it is silent":          wiwtest.Hang(),
		"it fails":              wiwtest.Status(http.StatusInternalServerError, `{}`),
		"its gateway fails":     wiwtest.HTML(http.StatusBadGateway),
		"its gateway knows not": wiwtest.HTML(http.StatusNotFound),
		"it talks nonsense":     wiwtest.Body(`{"shifts":`),
	} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int64
			answer := func(w http.ResponseWriter, r *http.Request) { asked.Add(1); fault(w, r, nil) }
			client := newClient(t, http.HandlerFunc(answer), wiw.Config{Timeout: 5 * time.Second})
			began := time.Now()
			for id := range int64(3) {
				if _, _, err := readOne(t, client, id+1); err == nil || errors.Is(err, shiftsync.ErrNotShown) {
					t.Errorf("%s: shift %d: %v", claim, id+1, err)
				}
			}
			if took := time.Since(began); asked.Load() != 1 || took > 6*time.Second {
				t.Errorf("%s: three shifts took %d requests and %s", claim, asked.Load(), took)
			}
			<-time.After(31 * time.Second)
			if _, _, err := readOne(t, client, 1); err == nil || asked.Load() != 2 {
				t.Errorf("%s: half a minute later: %d requests in all, %v", claim, asked.Load(), err)
			}
		})
	}
}

func TestAStopIsNoTroubleOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		hang := wiwtest.Hang()
		client := newClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); hang(w, r, nil) }), wiw.Config{})
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := client.ReadOne(ctx, 1, func(int64, uint64, []byte) error { return nil })
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}
		if asked.Load() != 2 {
			t.Errorf("asked %d times, want 2", asked.Load())
		}
	})
}

func TestAWordOnOneShiftHoldsNoOtherBack(t *testing.T) {
	for _, fault := range []wiwtest.Fault{
		wiwtest.Status(http.StatusNotFound, `{"error":"No shift found","code":4005}`),
		wiwtest.Status(http.StatusForbidden, `{"error":"no permission","code":3005}`),
	} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int64
			answer := func(w http.ResponseWriter, r *http.Request) { asked.Add(1); fault(w, r, nil) }
			client := newClient(t, http.HandlerFunc(answer), wiw.Config{})
			for id := range int64(3) {
				_, _, _ = readOne(t, client, id+1)
			}
			if asked.Load() != 3 {
				t.Errorf("asked for three, %d requests", asked.Load())
			}
		})
	}
}

// What a shift says of its own deletion is a hint and no proof: it is read like any other.
func TestAShiftThatIsMarkedAsDeletedIsThere(t *testing.T) {
	server := wiwtest.New(wiwtest.Options{Token: token})
	server.PutJSON(7, month.Start, month.End, `{"id":7,"is_deleted":true,"deleted":true,"deleted_at":"Mon, 01 Oct 2018 15:27:30 +0100",`+
		`"start_time":"Mon, 01 Oct 2018 15:27:30 +0100","end_time":"Mon, 01 Oct 2018 16:27:30 +0100"}`)
	got, _, err := readOne(t, newClient(t, server, wiw.Config{}), 7)
	if err != nil || got.ID != 7 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Whoever counts refusals must not count the answers about shifts that were deleted.
func TestThatAShiftIsNotThereIsNoRefusal(t *testing.T) {
	for _, c := range []struct {
		claim string
		id    int64 // 0: the window
		fault wiwtest.Fault
		want  string
	}{
		{"a shift that is not there", 1, wiwtest.Status(http.StatusNotFound, `{"error":"No shift found","code":4005}`), wiw.ClassNoShift},
		{"one that was", 1, wiwtest.Status(http.StatusGone, `{}`), wiw.ClassNoShift},
		{"one that is refused", 1, wiwtest.Status(http.StatusForbidden, `{}`), "4xx"},
		{"a window that is not there", 0, wiwtest.Status(http.StatusNotFound, `{}`), "4xx"},
		{"a token that is over", 1, wiwtest.Status(http.StatusUnauthorized, `{}`), "4xx"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			answer := func(w http.ResponseWriter, r *http.Request) { c.fault(w, r, nil) }
			client := newClient(t, http.HandlerFunc(answer), wiw.Config{OnResponse: func(r wiw.Response) { got = append(got, r.Class) }})
			if c.id != 0 {
				_, _, _ = readOne(t, client, c.id)
			} else {
				_, _ = readAll(client, month)
			}
			if len(got) == 0 || got[0] != c.want {
				t.Errorf("%s: got %q, want %q", c.claim, got, c.want)
			}
		})
	}
}
