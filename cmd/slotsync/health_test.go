package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

func TestHealthFollowsTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A minute between passes; a turn at the API takes a second, an answer's byte 30: 3m1s of patience.
		w := watch(t, false, env{"SYNC_SLEEP_PERIOD_SECONDS": "60"})
		const patience = 3*time.Minute + time.Second
		pass := report(shiftsync.Tally{Fetched: 7, Unchanged: 5, Published: 1, StillAside: 1})
		pending := pass
		pending.Pending = 3
		expect := func(claim, state string, alive, ready bool, reason string) {
			t.Helper()
			c := w.health.condition()
			if c.State != state || c.Alive != alive || c.Ready != ready || !strings.Contains(c.Reason, reason) || (c.Reason == "") != c.Ready {
				t.Errorf("%s: got %+v, want %s, alive %v, ready %v, %q", claim, c, state, alive, ready, reason)
			}
			if strings.Contains(c.Reason, "\n") {
				t.Errorf("%s: got more than a line: %q", claim, c.Reason)
			}
		}
		after := func(d time.Duration) { <-time.After(d) }

		expect("at first", stateStarting, true, false, "no pass has ended")
		w.Done(shiftsync.Report{}, errors.New("find the kafka cluster: refused"))
		expect("Kafka is not there", stateStarting, true, false, "refused")
		after(time.Minute + patience)
		expect("just in time", stateStarting, true, false, "refused")
		after(time.Second)
		expect("too late", stateStarting, false, false, "no sign of life for 4m2s, 4m1s would be the longest")

		w.Standby(shiftsync.Standing{Holder: "other"})
		expect("standing by", stateStandby, true, true, "")
		after(patience + time.Second)
		expect("standing by, in silence", stateStandby, false, false, "no sign of life")

		w.Acquired(shiftsync.Standing{})
		expect("the lease", stateActive, true, false, "no pass has ended")
		for range 5 { // longer than any silence
			w.Reading()
			after(patience - time.Second)
			w.Asked(wiw.Response{Class: "2xx", Remaining: -1})
			after(patience - time.Second)
			expect("an answer of the API", stateActive, true, false, "no pass has ended")
			w.Batch(shiftsync.Tally{Fetched: 500})
			after(patience - time.Second)
		}
		expect("a long pass", stateActive, true, false, "no pass has ended")
		w.Done(pass, nil)
		expect("in step", stateActive, true, true, "")
		if got := w.health.condition().LastPass; got.Result != "ok" || got.Fetched != 7 || got.SetAside != 1 || got.TookMS != 840 {
			t.Errorf("got the last pass %+v", got)
		}
		after(time.Minute + patience + time.Second)
		expect("no next pass", stateActive, false, false, "no sign of life")

		w.Done(pending, fmt.Errorf("%w: 3 shifts intended", shiftsync.ErrPending))
		expect("all decided, some pending", stateActive, true, true, "")
		w.Done(pending, errors.Join(fmt.Errorf("%w: 100 stand", shiftsync.ErrPendingLimit), errors.New("kafka is away")))
		expect("the limit", stateActive, true, false, "the limit of pending shifts is reached: 100 stand; kafka is away")
		w.Done(pass, errRedis)
		expect("a failed pass", stateActive, true, false, errRedis.Error())
		w.Done(pass, context.Canceled)
		expect("a stop says nothing new", stateActive, true, false, errRedis.Error())
		w.Done(pass, nil)
		expect("trouble is over", stateActive, true, true, "")
		w.Done(pass, fmt.Errorf("publish: %w", shiftsync.ErrFenced))
		after(10*time.Minute + patience)
		expect("a rival, given time", stateActive, true, false, "fenced")
		w.Done(pass, nil)
		w.Acquired(shiftsync.Standing{})
		expect("the lease anew", stateActive, true, false, "no pass has ended")
	})
}

func TestAnAPIThatHangsIsSeenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, true, nil)
		w.Acquired(shiftsync.Standing{})
		w.Done(report(shiftsync.Tally{}), nil)
		w.told()
		api := func() dependency { return w.health.overview().Dependencies[0] }
		want := func(claim string, away bool, reason string) {
			t.Helper()
			c := w.health.condition()
			if got := api(); got.Since.IsZero() == away || got.Reason != reason || c.Ready == away || away && (c.Cause != causeAPI || !strings.Contains(c.Reason, reason)) {
				t.Errorf("%s: got %+v, ready %v, %q", claim, got, c.Ready, c.Reason)
			}
		}
		w.Asked(wiw.Response{Class: "error", Remaining: -1})
		if got := api().Heard; !got.IsZero() {
			t.Errorf("no answer: got heard %s", got)
		}
		w.Asked(wiw.Response{Class: "4xx", Remaining: -1})
		if got := api().Heard; !got.Equal(shownTime(time.Now())) {
			t.Errorf("a refusal is a word: got heard %s", got)
		}
		w.Reading()
		began := time.Now()
		w.health.needs.waits(true)
		<-time.After(9 * time.Second)
		want("nine seconds", false, "")
		<-time.After(3 * time.Second)
		want("twelve seconds", true, "asked 12 s ago, no answer")
		if got := api().Since; !got.Equal(shownTime(began)) {
			t.Errorf("got away since %s, want %s", got, began)
		}
		w.health.needs.waits(false)
		want("there was an answer", false, "")
		w.Retries(errors.New("GET x: 502 Bad Gateway"), time.Second)
		want("an attempt went wrong", true, "GET x: 502 Bad Gateway")
		if got := w.told(); len(got) != 1 || got[0] != `WARN when i work: asked again: GET x: 502 Bad Gateway in_s=1` {
			t.Errorf("got %q", got)
		}
		w.Asked(wiw.Response{Class: "5xx", Remaining: -1})
		want("the next one is no better", true, "GET x: 502 Bad Gateway")
		w.Asked(wiw.Response{Class: "2xx", Remaining: -1})
		want("the next one goes well", false, "")
		w.Retries(fmt.Errorf("GET x: %w", &wiw.StatusError{Status: 429}), time.Second)
		want("it is there, and asks for patience", false, "")

		w.health.needs.note(causeAPI, errors.New("200 with an error in it"))
		w.Asked(wiw.Response{Class: "2xx", Remaining: -1})
		want("an answer that was of no use", true, "200 with an error in it")
		w.Done(report(shiftsync.Tally{}), errRedis)
		w.told()
		w.Retries(errors.New("GET x: 502 Bad Gateway"), time.Second)
		if got := w.told(); len(got) != 0 {
			t.Errorf("passes fail and say why, and besides there is %q", got)
		}
		w.Standby(shiftsync.Standing{Holder: "other"})
		if got := api(); !got.Since.IsZero() {
			t.Errorf("a standby has trouble with %+v", got)
		}
	})
}

func TestPatienceGrowsWithTheWaitForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, env{"WIW_TIMEOUT": "5m", "WIW_RATE": "1"})
		w.Acquired(shiftsync.Standing{})
		const patience = 13 * time.Minute // a turn, two waits and two minutes for all else
		<-time.After(patience)
		if c := w.health.condition(); !c.Alive {
			t.Errorf("just in time: got %+v", c)
		}
		<-time.After(time.Second)
		if c := w.health.condition(); c.Alive {
			t.Errorf("too late: got %+v", c)
		}
	})
}

// How long a worker waits for a rival to go grows from time to time.
func TestWithARivalTheNextPassIsNotForeseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, nil)
		w.Acquired(shiftsync.Standing{})
		w.Done(report(shiftsync.Tally{}), nil)
		if o := w.health.overview(); o.NextPass.IsZero() {
			t.Errorf("without one: got %+v", o)
		}
		w.Done(report(shiftsync.Tally{}), fmt.Errorf("publish: %w", shiftsync.ErrFenced))
		for range 2 {
			if o := w.health.overview(); !o.NextPass.IsZero() || !o.PassBegan.IsZero() {
				t.Errorf("got the next pass at %s and one that began at %s", o.NextPass, o.PassBegan)
			}
			<-time.After(11 * time.Minute)
		}
	})
}

func TestTheAPIIsHeardByItsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, nil)
		w.Asked(wiw.Response{Class: "error", Remaining: -1})
		if api := w.health.overview().Dependencies[0]; !api.Heard.IsZero() {
			t.Errorf("no answer: got %+v", api)
		}
		for _, class := range []string{"2xx", "4xx", "5xx"} { // a no is a word, too
			<-time.After(time.Second)
			w.Asked(wiw.Response{Class: class, Remaining: -1})
			if api := w.health.overview().Dependencies[0]; !api.Heard.Equal(time.Now()) {
				t.Errorf("%s: got %+v", class, api)
			}
		}
	})
}

func TestHealthIsAskedByHTTP(t *testing.T) {
	w := watch(t, false, nil)
	for _, c := range []struct {
		method, path string
		before       func()
		code         int
	}{
		{"GET", "/healthz", nil, 200},
		{"HEAD", "/healthz", nil, 200},
		{"GET", "/readyz", nil, 503},
		{"HEAD", "/readyz", nil, 503},
		{"GET", "/readyz", func() { w.Standby(shiftsync.Standing{Holder: "other"}) }, 200},
		{"POST", "/healthz", nil, 405},
		{"DELETE", "/readyz", nil, 405},
		{"GET", "/nothing", nil, 404},
		{"GET", "/healthz/", nil, 404},
	} {
		if c.before != nil {
			c.before()
		}
		rec := httptest.NewRecorder()
		lookOnly(newWebsite(&config{}, w.observer)).ServeHTTP(rec, httptest.NewRequest(c.method, c.path, nil))
		if rec.Code != c.code {
			t.Errorf("%s %s: got %d, want %d", c.method, c.path, rec.Code, c.code)
		}
		var told map[string]any
		if c.method == "GET" && c.code != 404 {
			if err := json.Unmarshal(rec.Body.Bytes(), &told); err != nil || told["state"] == nil {
				t.Errorf("%s %s: got %q, %v", c.method, c.path, rec.Body, err)
			}
		}
	}
}

func TestReachable(t *testing.T) {
	for addr, want := range map[string]string{
		":80":            "127.0.0.1:80",
		"0.0.0.0:80":     "127.0.0.1:80",
		"[::]:80":        "[::1]:80",
		"[::1]:80":       "[::1]:80",
		"10.0.0.1:80":    "10.0.0.1:80",
		"worker.test:80": "worker.test:80",
	} {
		if got := reachable(addr); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

func TestAProbeAsksTheRunningWorker(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 5, Partitions: 2})
	settings := env{"HTTP_ADDR": "127.0.0.1:1", "SYNC_SLEEP_PERIOD_SECONDS": "0"} // where nobody listens
	probe := func(args ...string) (out, log string, code int) {
		return call(t, w, settings, append([]string{"health"}, args...)...)
	}
	if _, log, code := probe(); code != 1 || !strings.Contains(log, "nobody listens there") {
		t.Errorf("nobody listens: got exit %d, %s", code, log)
	}

	worker, addr := loopHTTP(t, in(w, settings))
	settings["HTTP_ADDR"] = addr
	worker.until(t, good, 1)
	for _, args := range [][]string{nil, {"--ready"}} {
		out, log, code := probe(args...)
		if code != 0 || !strings.Contains(out, `"state":"active"`) || !strings.Contains(out, `"fetched":`) {
			t.Errorf("%v: got exit %d\n%s%s", args, code, out, log)
		}
	}
	w.API.Fail(-1, wiwtest.Status(http.StatusForbidden, `{"error":"no"}`))
	worker.until(t, bad, 1)
	if out, log, code := probe("--ready"); code != 1 || !strings.Contains(log, "not ready: ") || !strings.Contains(out, `"result":"failed"`) {
		t.Errorf("after a failed pass: got exit %d\n%s%s", code, out, log)
	}
	if _, log, code := probe(); code != 0 {
		t.Errorf("a failed pass is a sign of life: got exit %d, %s", code, log)
	}
	// Another worker on the same address.
	if _, log, code := call(t, w, env{"HTTP_ADDR": settings["HTTP_ADDR"], "WIW_KEY": "x"}); code != 1 || !strings.Contains(log, "address already in use") {
		t.Errorf("a port in use: got exit %d, %s", code, log)
	}
	worker.halt(t)
	l, err := net.Listen("tcp", settings["HTTP_ADDR"])
	if err != nil {
		t.Errorf("the worker has ended, and its server has not: %v", err)
	} else {
		l.Close()
	}
}

func TestAProbeThatCannotAsk(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"UP"}`) }))
	defer other.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	for _, c := range []struct {
		claim, addr string
		code        int
		says        string
	}{
		{"no address", "", 2, "HTTP_ADDR (--http-addr) is not set"},
		{"switched off", "off", 2, "HTTP_ADDR (--http-addr) is not set"},
		{"no host:port", "here", 2, "HTTP_ADDR must be host:port"},
		{"any port", "127.0.0.1:0", 2, "the one that the worker's log names"},
		{"another program", other.Listener.Addr().String(), 1, "another program"},
		{"no answer", mute.Addr().String(), 1, "it hangs, or is stopped"},
	} {
		began := time.Now()
		err := run(t.Context(), []string{"health"}, env{"HTTP_ADDR": c.addr}.get, io.Discard, io.Discard)
		if exitCode(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) || time.Since(began) > 5*time.Second {
			t.Errorf("%s: got %v after %s, want exit %d and %q", c.claim, err, time.Since(began), c.code, c.says)
		}
	}
}

func TestOncePassesServeNoHealth(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 5, Partitions: 1})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, code, log := once(t, w, env{"HTTP_ADDR": l.Addr().String()}); code != 0 {
		t.Errorf("got exit %d\n%s", code, log)
	}
}

// serving serves on a port that is free, and returns where.
func serving(t *testing.T, handler http.Handler) (s *server, addr string) {
	t.Helper()
	var log bytes.Buffer
	s, err := serve("127.0.0.1:0", handler, slog.New(slog.NewJSONHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	var entry struct{ Addr string }
	if err := json.Unmarshal(log.Bytes(), &entry); err != nil || entry.Addr == "" {
		t.Fatalf("the log does not name the address: %v in %s", err, &log)
	}
	return s, entry.Addr
}

func TestTheServerEndsWhileAnAnswerIsUnderWay(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}), make(chan struct{})
	s, addr := serving(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(began); <-release }))
	var client sync.WaitGroup
	client.Go(func() {
		res, err := http.Get("http://" + addr)
		if err == nil {
			res.Body.Close()
		}
	})
	<-began
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	close(release)
	client.Wait()
}

// The port may be open to a whole network, and who calls there need not mean well.
func TestTheServerIsNotHeldUpByItsClients(t *testing.T) {
	t.Parallel()
	w := watch(t, false, nil)
	s, addr := serving(t, lookOnly(newWebsite(loadOK(t, minimal(nil)), w.observer)))
	t.Cleanup(func() { s.Close() })
	const get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
	for _, c := range []struct {
		claim, head, piece string // the piece is said over and over
		pause              time.Duration
		answer             string
		within             time.Duration
	}{
		{"a question", get + "\r\n", "", 0, "HTTP/1.1 200", time.Second},
		{"nothing is asked", "", "", 0, "", 20 * time.Second},
		{"a question that drips", get, "X: y\r\n", 100 * time.Millisecond, "", 20 * time.Second},
		{"a question without an end", get, "X: " + strings.Repeat("y", 1000) + "\r\n", 0, "HTTP/1.1 431", 20 * time.Second},
		{"a question of 64 KiB", get + strings.Repeat("X: "+strings.Repeat("y", 1019)+"\r\n", 64) + "\r\n", "", 0, "HTTP/1.1 431", 20 * time.Second},
		{"a body that drips", get + "Content-Length: 1000\r\n\r\n", "x", 100 * time.Millisecond, "HTTP/1.1 200", 20 * time.Second},
		{"a body without an end", "POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", "400\r\n" + strings.Repeat("x", 1024) + "\r\n", 0, "HTTP/1.1 405", 20 * time.Second},
		{"no HTTP", "\x16\x03\x01\x00\r\n\r\n", "", 0, "HTTP/1.1 400", 20 * time.Second},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			var talking sync.WaitGroup
			talking.Go(func() {
				_, err := fmt.Fprint(conn, c.head)
				pause := time.NewTicker(max(c.pause, time.Nanosecond))
				defer pause.Stop()
				for err == nil && c.piece != "" {
					<-pause.C
					_, err = fmt.Fprint(conn, c.piece)
				}
			})
			conn.SetReadDeadline(began.Add(c.within))
			answer, err := io.ReadAll(conn)
			if c.claim == "a question" { // after which the next one may follow
				err = nil
			}
			var slow net.Error
			if errors.As(err, &slow) && slow.Timeout() || !strings.HasPrefix(string(answer), c.answer) || c.answer == "" && len(answer) > 0 {
				t.Errorf("got %q, %v after %s, want %q and an end", answer, err, time.Since(began), c.answer)
			}
			conn.Close()
			talking.Wait()
		})
	}
	res, err := http.Get("http://" + addr + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for name, want := range map[string]string{"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Server": "", "Access-Control-Allow-Origin": ""} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
