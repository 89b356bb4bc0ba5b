package wiw_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// echoed is the window of a hand-written answer.
const echoed = `"start":"Mon, 02 Mar 2026 00:00:00 +0000","end":"Tue, 31 Mar 2026 20:00:00 -0400"`

func TestOnlyAWholeAnswerIsBelieved(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name     string
		fault    wiwtest.Fault
		want     string // in the error; empty: none
		attempts int
	}{
		{"a good one", wiwtest.Altered(func(*wiwtest.Answer) {}), "", 1},
		{"the window behind the shifts", wiwtest.EchoLast(0), "", 1},
		{"no window", wiwtest.NoEcho(), "", 1},
		{"a shift twice", wiwtest.Duplicates(), "", 1},
		{"white space behind the end", wiwtest.Trailing(" \r\n\t"), "", 1},
		{"error false", wiwtest.Replaced(`"shifts":`, `"error":false,"shifts":`), "", 1},
		{"error null", wiwtest.Replaced(`"shifts":`, `"error":null,"shifts":`), "", 1},
		{"error zero", wiwtest.Replaced(`"shifts":`, `"error":0.0,"shifts":`), "", 1},
		{"error empty", wiwtest.Replaced(`"shifts":`, `"error":"","shifts":`), "", 1},
		{"a window that differs by seconds", wiwtest.CutEcho(30*day - 5*time.Second), "", 1},
		{"a window in another spelling", wiwtest.Body(`{"start":"2026-03-02T01:00:00+01:00","end":1775001600,"shifts":[]}`), "", 1},
		{"a window of no dates", wiwtest.Body(`{"start":null,"end":"","shifts":[]}`), "", 1},
		{"more to skip than one value may be long", wiwtest.Oversized(5 << 20), "", 1},

		{"a cut window", wiwtest.CutEcho(20 * day), "another window: end was 2026-03-22T00:00:00Z, asked 2026-04-01T00:00:00Z", 1},
		{"a window cut by more than seconds", wiwtest.CutEcho(30*day - 6*time.Second), "another window", 1},
		{"a cut window behind the shifts", wiwtest.EchoLast(20 * day), "another window", 1},
		{"another start", wiwtest.Altered(func(a *wiwtest.Answer) { a.Start = a.Start.Add(time.Hour) }), "another window: start", 1},
		{"a window that cannot be read", wiwtest.Replaced(`"start":"`, `"start":"1`), "unknown form", 1},
		{"no shifts", wiwtest.MissingShifts(), "no shifts", 1},
		{"shifts null", wiwtest.Body(`{` + echoed + `,"shifts":null}`), "not an array", 1},
		{"shifts an object", wiwtest.Body(`{` + echoed + `,"shifts":{}}`), "not an array", 1},
		{"shifts twice", wiwtest.Replaced(`"shifts":`, `"shifts":[],"shifts":`), "twice", 1},
		{"an error behind the shifts", wiwtest.ErrorInside("Try later"), "200 OK (code INTERNAL_ERROR): Try later", 1},
		{"an error before the shifts", wiwtest.Replaced(`"shifts":`, `"error":"Try later","shifts":`), "Try later", 1},
		{"an error alone", wiwtest.Body(`{"error":"Try later","code":1}`), "200 OK (code 1): Try later", 1},
		{"a nested error", wiwtest.Body(`{"error":{"code":"BUSY","title":"Try later","errorData":{}}}`), "(code BUSY): Try later", 1},
		{"an error true", wiwtest.Body(`{"shifts":[],"error":true}`), "200", 1},
		{"an error and then nonsense", wiwtest.Body(`{"error":"Try later",]`), "Try later", 1},

		{"something behind the end", wiwtest.Trailing(`{}`), "gave up after 4 attempts", 4},
		{"rubbish behind the end", wiwtest.Trailing(`]`), "gave up after 4 attempts", 4},
		{"a dropped connection", wiwtest.Truncated(0.6), "cut off", 4},
		{"half of it", wiwtest.CutOff(0.5), "cut off", 4},
		{"all but the last bracket", wiwtest.CutOff(0.99999), "cut off", 4},
		{"bad grammar", wiwtest.InvalidJSON(), "not JSON near byte", 4},
		{"half of the compressed bytes", cutGzip, "cut off", 4},
		{"an encoding nobody asked for", wiwtest.Status(200, `x`, "Content-Encoding", "br"), "not asked for", 4},
		{"a page", wiwtest.HTML(200), "200 with text/html", 4},
		{"a list", wiwtest.Body(`[]`), "not a JSON object", 4},
		{"text", wiwtest.Body(`Service moved`), "not JSON", 4},
		{"nothing", wiwtest.Body(``), "cut off after 0 bytes", 4},
		{"no content", wiwtest.Status(204, ``), "204 No Content", 4},

		{"over the cap", wiwtest.Oversized(7 << 20), "too long: over 6291456 bytes", 1},
		{"a bomb", wiwtest.Bomb(1 << 30), "too long", 1},
		{"endless shifts", wiwtest.Endless(`{"shifts":[{"id":1,"start_time":1,"end_time":1}`, `,{"id":1,"start_time":1,"end_time":1,"notes":"`+strings.Repeat("x", 3000)+`"}`), "too long", 1},
		{"an endless text", wiwtest.Endless(`{"shifts":[{"id":1,"notes":"`, `x`), "one value of it is over 4 MiB", 1},
		{"an endless text to skip", wiwtest.Endless(`{"users":[{"id":1,"notes":"`, `x`), "one value of it is over 4 MiB", 1},
		{"endless nothing", wiwtest.Endless(`{"shifts":`, ` `), "one value of it is over 4 MiB", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40})
				fake.Fail(-1, tt.fault)
				client := newClient(t, fake, wiw.Config{MaxBytes: 6 << 20})
				_, err := readAll(client, month)
				if n := len(fake.Requests()); n != tt.attempts {
					t.Errorf("got %d attempts, want %d", n, tt.attempts)
				}
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("got %v", err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("got %v, want %q in it", err, tt.want)
				}

				// The fault is forgotten with the answer.
				fake.Heal()
				got, err := readAll(client, month)
				if err != nil {
					t.Fatal(err)
				}
				sameShifts(t, got, fake.Truth(month))
			})
		})
	}
}

// cutGzip ends in the middle of a compressed answer.
func cutGzip(w http.ResponseWriter, _ *http.Request, a *wiwtest.Answer) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(a.JSON())
	_ = z.Close()
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(b.Bytes()[:b.Len()/2])
}

func TestTheCapIsExact(t *testing.T) {
	const body = `{` + echoed + `,"shifts":[]}`
	for _, tt := range []struct {
		most int64
		ok   bool
	}{{int64(len(body)), true}, {int64(len(body)) - 1, false}} {
		fake := wiwtest.New(wiwtest.Options{})
		fake.Fail(-1, wiwtest.Body(body))
		if _, err := readAll(newClient(t, fake, wiw.Config{MaxBytes: tt.most}), month); (err == nil) != tt.ok {
			t.Errorf("cap %d of %d bytes: got %v", tt.most, len(body), err)
		}
	}
}

func TestNothingIsHandedOnAfterAFault(t *testing.T) {
	for name, fault := range map[string]wiwtest.Fault{
		"an error before the shifts":   wiwtest.Replaced(`"shifts":`, `"error":"x","shifts":`),
		"another window before them":   wiwtest.CutEcho(time.Hour),
		"no array":                     wiwtest.MissingShifts(),
		"shifts twice, the second one": wiwtest.Replaced(`"shifts":`, `"shifts":[],"shifts":`),
	} {
		t.Run(name, func(t *testing.T) {
			fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40})
			fake.Fail(-1, fault)
			err := newClient(t, fake, wiw.Config{}).Read(context.Background(), month, func(id int64, _ uint64, _ []byte) error {
				t.Errorf("got shift %d", id)
				return nil
			})
			if err == nil {
				t.Error("got no error")
			}
		})
	}
}

func TestABrokenAnswerIsReadAgainFromTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40})
		fake.Fail(2, wiwtest.Truncated(0.5))
		got, err := readAll(newClient(t, fake, wiw.Config{}), month)
		if err != nil {
			t.Fatal(err)
		}
		sameShifts(t, got, fake.Truth(month))
		if n := len(fake.Requests()); n != 3 {
			t.Errorf("got %d requests, want 3", n)
		}
	})
}

func TestNoticesAreToldOnce(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 3})
	fake.Fail(-1, wiwtest.NoEcho())
	for id := range int64(3) {
		fake.PutJSON(id+1, month.Start, month.End, `{"id":5,"start_time":1,"end_time":1,"mood swing":"fine",`+
			`"created_at":"Tom 12.10.2018","breaks":[{"why":1}]}`)
	}
	var got []wiw.Notice
	dates := 0
	client := newClient(t, fake, wiw.Config{
		OnNotice:      func(n wiw.Notice) { got = append(got, n) },
		OnUnknownDate: func() { dates++ },
	})
	for range 2 {
		_ = client.Read(context.Background(), month, func(_ int64, _ uint64, raw []byte) error {
			return client.Parse(raw, new(shiftsync.Shift))
		})
	}
	seen := make(map[string]string)
	for _, n := range got {
		seen[n.Field] = n.Form
	}
	want := map[string]string{"": "", "mood?swing": "", "created_at": `"aaa 99.99.9999"`, "breaks.why": ""}
	if len(got) != len(want) {
		t.Errorf("got %d notices, want %d: %v", len(got), len(want), got)
	}
	for field, form := range want {
		if g, ok := seen[field]; !ok || g != form {
			t.Errorf("%q: got %q, want %q", field, g, form)
		}
	}
	if dates != 6 {
		t.Errorf("told of %d unknown dates, want 6: each time", dates)
	}
}

func TestNoticesAreBounded(t *testing.T) {
	told := 0
	client := newClient(t, nil, wiw.Config{OnNotice: func(wiw.Notice) { told++ }})
	for i := range 1000 {
		_ = client.Parse(fmt.Appendf(nil, `{"field%d":1}`, i), new(shiftsync.Shift))
	}
	if told == 0 || told > 200 {
		t.Errorf("got %d notices, want some, at most 200", told)
	}
}

func TestErrorsOfTheNetworkNameNoQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("connection refused")
		client := newClient(t, nil, wiw.Config{
			URL:       "http://user:hunter2@api.test/base/",
			Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, refused }),
		})
		_, err := readAll(client, month)
		const want = "GET http://api.test/base/2/shifts: gave up after 4 attempts: connection refused"
		if !errors.Is(err, refused) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{})
		client := newClient(t, fake, wiw.Config{})
		for _, body := range []string{
			`{"error":"User ada@example.invalid with ` + token + ` not\n\u0000 known` + strings.Repeat(" ü", 200) + `","email":"bo@example.invalid"}`,
			`{"error":{"code":"` + token + `","title":"ada@example.invalid"}}`,
			`<html>ada@example.invalid</html>`,
		} {
			fake.Fail(-1, wiwtest.Status(400, body))
			_, err := readAll(client, month)
			var status *wiw.StatusError
			if !errors.As(err, &status) || status.Status != 400 {
				t.Fatalf("got %v, want a StatusError", err)
			}
			if len(status.Message) > 200 || strings.ContainsAny(err.Error(), "@\n\x00") || strings.Contains(err.Error(), token) {
				t.Errorf("got %q", err)
			}
			if strings.Contains(err.Error(), "start=") {
				t.Errorf("got the query in %q", err)
			}
		}
	})
}
