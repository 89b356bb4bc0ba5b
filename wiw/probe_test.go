package wiw_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

func TestProbeAsksOnce(t *testing.T) {
	half := shiftsync.Window{Start: month.Start, End: month.Start.AddDate(0, 0, 15)}
	for _, c := range []struct {
		claim string
		fault wiwtest.Fault
		is    func(error) bool
	}{
		{"no fault", nil, func(err error) bool { return err == nil }},
		{"a fault that may pass", wiwtest.Status(502, ``), func(err error) bool { return status(err) == 502 }},
		{"throttled", wiwtest.Throttled("60"), func(err error) bool { return status(err) == 429 }},
		{"a bad token", wiwtest.Status(401, `{"error":"User login required for this resource.","code":1000}`), func(err error) bool {
			return status(err) == 401 && !aboutRights(err)
		}},
		{"no rights", wiwtest.Status(403, `{"error":"You do not have permission to do this.","code":3005}`), aboutRights},
		{"no rights, in newer words", wiwtest.Status(401, `{"error":"You do not have access to do this.","code":"UNAUTHORIZED"}`), aboutRights},
		{"another window", wiwtest.CutEcho(time.Hour), func(err error) bool { return errors.Is(err, wiw.ErrOtherWindow) }},
	} {
		t.Run(c.claim, func(t *testing.T) {
			fake := wiwtest.New(wiwtest.Options{Shifts: 20})
			if c.fault != nil {
				fake.Fail(-1, c.fault)
			}
			client := newClient(t, fake, wiw.Config{})
			for range 2 { // the second time nothing of the first is held against the API
				fake.Forget()
				err := client.Probe(context.Background(), half, func(int64, uint64, []byte) error { return nil })
				if !c.is(err) {
					t.Errorf("got %v", err)
				}
				if n := len(fake.Requests()); n != 1 {
					t.Errorf("got %d requests, want 1", n)
				}
			}
		})
	}
}

func TestProbeReadsAllParts(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{Shifts: 50})
	want, err := readAll(newClient(t, fake, wiw.Config{}), month)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int64]bool{}
	err = newClient(t, fake, wiw.Config{SliceDays: 7}).Probe(t.Context(), month, func(id int64, _ uint64, _ []byte) error {
		got[id] = true
		return nil
	})
	if err != nil || len(got) != len(want) {
		t.Errorf("got %d shifts, %v, want %d", len(got), err, len(want))
	}
}

func TestTheAPIsClockIsReported(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{})
	var got wiw.Response
	client := newClient(t, fake, wiw.Config{OnResponse: func(r wiw.Response) { got = r }})
	fake.Fail(1, wiwtest.Status(400, `{}`, "Date", "Sat, 21 Nov 2026 14:00:00 GMT"))
	_ = client.Probe(t.Context(), month, func(int64, uint64, []byte) error { return nil }) // the error is another test's
	if want := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC); !got.Date.Equal(want) {
		t.Errorf("got %s, want %s", got.Date, want)
	}
}

func status(err error) int {
	var e *wiw.StatusError
	if !errors.As(err, &e) {
		return 0
	}
	return e.Status
}

func aboutRights(err error) bool {
	var e *wiw.StatusError
	return errors.As(err, &e) && e.AboutRights()
}

func TestAnErrorNamesTheSettingThatMayBeWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	l.Close()
	token := wiw.StaticToken("t")
	client, err := wiw.New(wiw.Config{URL: nobody, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	err = client.Probe(t.Context(), month, func(int64, uint64, []byte) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "is WIW_URL right") {
		t.Errorf("nobody there: got %v", err)
	}

	for want, c := range map[string]wiw.Config{
		"is WIW_KEY_FILE still good?":                                          {Token: token, TokenFrom: "WIW_KEY_FILE"},
		"is WIW_KEY_FILE still good, and WIW_USER_ID a user of its workplace?": {Token: token, TokenFrom: "WIW_KEY_FILE", UserID: 7},
	} {
		fake := wiwtest.New(wiwtest.Options{})
		fake.Fail(-1, wiwtest.Status(401, `{"error":"Who?"}`))
		err := newClient(t, fake, c).Probe(t.Context(), month, func(int64, uint64, []byte) error { return nil })
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("refused: got %v, want %s", err, want)
		}
	}
}
