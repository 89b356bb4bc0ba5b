package wiw_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// requestTimes notes when each request was made.
func requestTimes(h http.Handler) (http.Handler, *[]time.Time) {
	times := new([]time.Time)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*times = append(*times, time.Now())
		h.ServeHTTP(w, r)
	}), times
}

// errorThenSilence tells an error, begins a list and says nothing more.
func errorThenSilence(w http.ResponseWriter, r *http.Request, _ *wiwtest.Answer) {
	_, _ = w.Write([]byte(`{"error":"Down","shifts":[`))
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func TestAttempts(t *testing.T) {
	const ok = ""
	for _, tt := range []struct {
		name     string
		times    int // that the fault occurs
		fault    wiwtest.Fault
		want     string
		attempts int
		atLeast  time.Duration // that Read took
		atMost   time.Duration
	}{
		{"a good answer at once", 0, nil, ok, 1, 0, 0},
		{"503 passes", 3, wiwtest.Status(503, ``), ok, 4, 3 * time.Second, 11 * time.Second},
		{"a maintenance page passes", 1, wiwtest.HTML(503), ok, 2, time.Second / 2, 2 * time.Second},
		{"408 passes", 1, wiwtest.Status(408, ``), ok, 2, time.Second / 2, 2 * time.Second},
		{"418 passes", 1, wiwtest.Status(418, `{"error":"?"}`), ok, 2, time.Second / 2, 2 * time.Second},
		{"503 stays", -1, wiwtest.Status(503, `{"error":"Down","code":"X"}`), "gave up after 4 attempts: 503 Service Unavailable (code X): Down", 4, 3 * time.Second, 11 * time.Second},
		{"429 with seconds", 1, wiwtest.Throttled("7"), ok, 2, 7 * time.Second, 8 * time.Second},
		{"429 without", 1, wiwtest.Throttled(""), ok, 2, time.Second / 2, 2 * time.Second},
		{"429 with nonsense", 1, wiwtest.Throttled("soon"), ok, 2, time.Second / 2, 2 * time.Second},
		{"429 with the past", 1, wiwtest.Throttled("Mon, 01 Jan 1990 00:00:00 GMT"), ok, 2, time.Second / 2, 2 * time.Second},
		{"429 with a date", 1, wiwtest.Throttled("Sat, 01 Jan 2000 00:00:20 GMT"), ok, 2, 20 * time.Second, 20 * time.Second},
		{"429 with a date by another clock", 1, wiwtest.Status(429, ``, "Retry-After", "Sat, 01 Jan 2050 00:00:20 GMT", "Date", "Sat, 01 Jan 2050 00:00:00 GMT"), ok, 2, 20 * time.Second, 20 * time.Second},
		{"429 with the longest wait", 1, wiwtest.Throttled("60"), ok, 2, time.Minute, time.Minute},
		{"429 with more than a pass waits", -1, wiwtest.Throttled("61"), "asks to wait 1m1s", 1, 0, 0},
		{"429 stays", -1, wiwtest.Throttled(""), "gave up after 4 attempts: 429", 4, 3 * time.Second, 11 * time.Second},
		{"503 with a wait", 1, wiwtest.Status(503, ``, "Retry-After", "30"), ok, 2, 30 * time.Second, 31 * time.Second},
		{"no right", -1, wiwtest.Status(403, `{"error":"You do not have permission to do this.","code":3005}`), "WIW_USER_ID", 1, 0, 0},
		{"no right, by words", -1, wiwtest.Status(403, `{"error":"No permission"}`), "WIW_USER_ID", 1, 0, 0},
		{"throttled by 403", -1, wiwtest.Status(403, `{"error":"Slow down"}`), "slow down", 1, 0, 0},
		{"no login", -1, wiwtest.Status(401, `{"error":"User login required for this resource.","code":1000}`), "this resource; is WIW_KEY (or the login) still good?", 1, 0, 0},
		{"400", -1, wiwtest.Status(400, `{"error":"bad"}`), "400 Bad Request: bad", 1, 0, 0},
		{"404", -1, wiwtest.Status(404, ``), "404", 1, 0, 0},
		{"406", -1, wiwtest.Status(406, ``), "406", 1, 0, 0},
		{"silence", -1, wiwtest.Hang(), "gave up after 4 attempts: no byte for 30s", 4, 123 * time.Second, 131 * time.Second},
		{"silence in the middle", -1, wiwtest.HangAfter(0.5), "gave up after 4 attempts: no byte for 30s", 4, 123 * time.Second, 131 * time.Second},
		{"an error told before a list that never ends", -1, errorThenSilence, "200 OK: Down", 1, 0, 0},
		{"an answer that takes long but keeps coming", 1, wiwtest.Slow(40, 29*time.Second), ok, 1, 18 * time.Minute, 20 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // where it is always midnight, 1 January 2000
				fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40})
				fake.Fail(tt.times, tt.fault)
				began := time.Now()
				got, err := readAll(newClient(t, fake, wiw.Config{}), month)
				if took := time.Since(began); took < tt.atLeast || took > tt.atMost {
					t.Errorf("took %s, want %s to %s", took, tt.atLeast, tt.atMost)
				}
				if n := len(fake.Requests()); n != tt.attempts {
					t.Errorf("got %d attempts, want %d", n, tt.attempts)
				}
				if tt.want == ok {
					if err != nil {
						t.Fatal(err)
					}
					sameShifts(t, got, fake.Truth(month))
				} else if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "GET http://api.test/2/shifts: ") {
					t.Errorf("got %v, want %q in it", err, tt.want)
				}
			})
		})
	}
}

// Workers that failed together would else come back together.
func TestWaitsDifferFromEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 10 {
			fake := wiwtest.New(wiwtest.Options{})
			fake.Fail(1, wiwtest.Status(503, ``))
			began := time.Now()
			if _, err := readAll(newClient(t, fake, wiw.Config{}), month); err != nil {
				t.Fatal(err)
			}
			seen[time.Since(began)] = true
		}
		if len(seen) < 2 {
			t.Errorf("ten clients all waited the same: %v", seen)
		}
	})
}

func TestHolds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault wiwtest.Fault
		want  []time.Duration // between passes that ask, one each second
	}{
		{"403 is left alone for longer each time", wiwtest.Status(403, ``),
			[]time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute}},
		{"401 too", wiwtest.Status(401, ``), []time.Duration{30 * time.Second, time.Minute}},
		{"what is asked for is kept", wiwtest.Throttled("300"), []time.Duration{5 * time.Minute, 5 * time.Minute}},
		{"within limits", wiwtest.Throttled("99999999999999999999"), []time.Duration{15 * time.Minute, 15 * time.Minute}},
		{"a lack of rights is not throttling", wiwtest.Status(403, `{"code":3005}`), []time.Duration{time.Second, time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40})
				fake.Fail(-1, tt.fault)
				h, times := requestTimes(fake)
				client := newClient(t, h, wiw.Config{Rate: 600})
				for len(*times) <= len(tt.want) {
					_, err := readAll(client, month)
					var status *wiw.StatusError
					if !errors.As(err, &status) {
						t.Fatalf("got %v, want a StatusError", err)
					}
					<-time.After(time.Second)
				}
				for i, want := range tt.want {
					if got := (*times)[i+1].Sub((*times)[i]); got < want || got > want+time.Second {
						t.Errorf("wait %d: got %s, want %s", i+1, got, want)
					}
				}

				// A good answer ends it, and the next refusal begins anew.
				fake.Heal()
				<-time.After(15 * time.Minute)
				if _, err := readAll(client, month); err != nil {
					t.Fatal(err)
				}
				fake.Fail(1, wiwtest.Status(403, ``))
				if _, err := readAll(client, month); err == nil {
					t.Fatal("got no error")
				}
				<-time.After(30 * time.Second)
				if _, err := readAll(client, month); err != nil {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestABusyAPIIsLeftAloneAfterAPassGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{})
		fake.Fail(4, wiwtest.Throttled(""))
		client := newClient(t, fake, wiw.Config{})
		for range 2 {
			if _, err := readAll(client, month); err == nil {
				t.Fatal("got no error")
			}
			<-time.After(29 * time.Second)
		}
		if n := len(fake.Requests()); n != 4 {
			t.Errorf("got %d requests, want 4", n)
		}
		if _, err := readAll(client, month); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40, Token: "second"})
		current, renewals := "first", 0
		client := newClient(t, fake, wiw.Config{Token: func(_ context.Context, refused string) (string, error) {
			if refused == current {
				renewals++
				current = map[string]string{"first": "second"}[current] + "?"[:min(1, renewals-1)]
			}
			return current, nil
		}})
		if _, err := readAll(client, month); err != nil {
			t.Fatal(err)
		}
		if renewals != 1 || len(fake.Requests()) != 2 {
			t.Errorf("got %d renewals in %d requests", renewals, len(fake.Requests()))
		}

		fake.SetToken("third")
		fake.Forget()
		_, err := readAll(client, month)
		var status *wiw.StatusError
		if !errors.As(err, &status) || status.Status != 401 || status.Code != "1000" {
			t.Errorf("got %v, want 401", err)
		}
		if renewals != 2 || len(fake.Requests()) != 2 {
			t.Errorf("got %d renewals in %d requests", renewals, len(fake.Requests()))
		}
		if _, err = readAll(client, month); err == nil || len(fake.Requests()) != 2 {
			t.Errorf("got %v in %d requests, want the token held back", err, len(fake.Requests()))
		}
		current = "third"
		if _, err = readAll(client, month); err != nil {
			t.Errorf("got %v with another token", err)
		}
	})
}

func TestNoTokenIsAnErrorThatNamesTheSetting(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{})
	_, err := readAll(newClient(t, fake, wiw.Config{Token: wiw.StaticToken(" \n")}), month)
	if err == nil || !strings.Contains(err.Error(), "WIW_KEY") || len(fake.Requests()) != 0 {
		t.Errorf("got %v", err)
	}
}

func TestASlowReaderIsNotASilentAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 400})
		n := 0
		err := newClient(t, fake, wiw.Config{}).Read(t.Context(), month, func(int64, uint64, []byte) error {
			n++
			<-time.After(time.Minute)
			return nil
		})
		if err != nil || n != len(fake.Truth(month)) || len(fake.Requests()) != 1 {
			t.Errorf("got %d shifts in %d requests, %v", n, len(fake.Requests()), err)
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	for name, fault := range map[string]wiwtest.Fault{
		"for headers":     wiwtest.Hang(),
		"for bytes":       wiwtest.HangAfter(0.5),
		"for a next try":  wiwtest.Throttled("50"),
		"for slow pieces": wiwtest.Slow(100, 10*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40})
				fake.Fail(-1, fault)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(15*time.Second, cancel)
				began := time.Now()
				err := newClient(t, fake, wiw.Config{}).Read(ctx, month, func(int64, uint64, []byte) error { return nil })
				if !errors.Is(err, context.Canceled) || time.Since(began) != 15*time.Second {
					t.Errorf("got %v after %s", err, time.Since(began))
				}
			})
		})
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, times := requestTimes(wiwtest.New(wiwtest.Options{}))
		client := newClient(t, h, wiw.Config{Rate: 20})
		for range 22 {
			if _, err := readAll(client, month); err != nil {
				t.Fatal(err)
			}
		}
		// Two at once, then one each 3 s.
		if took := (*times)[21].Sub((*times)[0]); took != time.Minute {
			t.Errorf("22 requests took %s, want 1m0s", took)
		}
	})
}

func TestResponsesAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{})
		var got []wiw.Response
		client := newClient(t, fake, wiw.Config{OnResponse: func(r wiw.Response) { got = append(got, r) }})
		fake.Fail(1, wiwtest.Status(502, ``, "W-Limit-Remaining", "soon"))
		if _, err := readAll(client, month); err != nil {
			t.Fatal(err)
		}
		fake.Fail(1, wiwtest.Hang())
		if _, err := readAll(client, month); err != nil {
			t.Fatal(err)
		}
		want := []wiw.Response{
			{Class: "5xx", Remaining: -1}, {Class: "2xx", Remaining: 99},
			{Latency: 30 * time.Second, Class: "error", Remaining: -1}, {Class: "2xx", Remaining: 99},
		}
		if len(got) != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("attempt %d: got %v, want %v", i, got[i], want[i])
			}
		}
	})
}

// A whole request may take minutes to fail. Whoever watches is to know at once.
func TestTroubleIsToldWhileARequestIsStillTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := wiwtest.New(wiwtest.Options{Shifts: 40})
		began := time.Now()
		var told []string
		var waits atomic.Bool
		client := newClient(t, fake, wiw.Config{
			OnWait: waits.Store,
			OnRetry: func(err error, wait time.Duration) {
				if waits.Load() || wait < 500*time.Millisecond {
					t.Errorf("waits %v, and then for %s", waits.Load(), wait)
				}
				told = append(told, fmt.Sprint(time.Since(began).Round(time.Second), " ", err))
			},
		})
		faults := []wiwtest.Fault{wiwtest.Hang(), wiwtest.HangAfter(.5)}
		var asked atomic.Int64
		fake.Fail(len(faults), func(w http.ResponseWriter, r *http.Request, a *wiwtest.Answer) {
			faults[asked.Add(1)-1](w, r, a)
		})
		var hung atomic.Bool
		look := time.AfterFunc(20*time.Second, func() { hung.Store(waits.Load()) })
		defer look.Stop()
		if got, err := readAll(client, month); err != nil || len(got) == 0 {
			t.Fatalf("got %d shifts, %v", len(got), err)
		}
		if !hung.Load() || waits.Load() {
			t.Errorf("got waits %v after 20 s and %v when all is read", hung.Load(), waits.Load())
		}
		if len(told) != 2 || !strings.HasPrefix(told[0], "30s GET http://api.test/2/shifts: no byte for 30s") || !strings.Contains(told[1], "no byte for 30s") {
			t.Errorf("got %q", told)
		}
	})
}

func TestTheTokenIsNotSentWhereARedirectPoints(t *testing.T) {
	elsewhere := wiwtest.New(wiwtest.Options{})
	other := httptest.NewServer(elsewhere)
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for claim, to := range map[string]func(host string) string{
			"another host":              func(string) string { return other.URL },
			"the same host":             func(string) string { return "" },
			"the same host without TLS": func(host string) string { return "http://" + host },
		} {
			asked := 0
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				http.Redirect(w, r, to(r.Host)+"/moved"+r.URL.String(), status)
			}))
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
			_, err := readAll(newClient(t, nil, wiw.Config{URL: server.URL, Transport: server.Client().Transport}), month)
			server.Close()
			if err == nil || !strings.Contains(err.Error(), "redirects are not followed; WIW_URL must be the API itself") {
				t.Fatalf("%d to %s: got %v", status, claim, err)
			}
			if asked != 1 {
				t.Errorf("%d to %s: it was asked %d times, want once", status, claim, asked)
			}
		}
	}
	if n := len(elsewhere.Requests()); n != 0 {
		t.Errorf("the other host got %d requests", n)
	}
}

func TestOverASocket(t *testing.T) {
	for name, fault := range map[string]wiwtest.Fault{
		"a dropped connection":     wiwtest.Truncated(0.5),
		"silence":                  wiwtest.Hang(),
		"silence after some of it": wiwtest.HangAfter(0.5),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits a second
			fake := wiwtest.New(wiwtest.Options{Seed: 7, Shifts: 40})
			server := httptest.NewServer(fake)
			t.Cleanup(server.Close)
			client := newClient(t, nil, wiw.Config{URL: server.URL, Timeout: 100 * time.Millisecond})
			fake.Fail(1, fault)
			got, err := readAll(client, month)
			if err != nil {
				t.Fatal(err)
			}
			sameShifts(t, got, fake.Truth(month))
		})
	}
}
