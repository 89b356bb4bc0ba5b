package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// picture writes what the browser shows to a file, in both themes, where SLOTSYNC_PICTURES names a
// folder for them: somebody has to look at a page, too.
func (b *browser) picture(t *testing.T, name string, widths ...int64) {
	t.Helper()
	folder := os.Getenv("SLOTSYNC_PICTURES")
	if folder == "" {
		return
	}
	for _, theme := range []string{"light", "dark"} {
		features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}
		if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
			t.Fatal(err)
		}
		for _, width := range widths {
			b.do(t, chromedp.EmulateViewport(width, 800))
			png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(folder, fmt.Sprintf("%s-%s-%d.png", strings.ReplaceAll(name, " ", "-"), theme, width))
			if err := os.WriteFile(file, png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// shot writes what a screen of that size shows, in the light theme.
func (b *browser) shot(t *testing.T, name string, width, height int64) {
	t.Helper()
	b.do(t, chromedp.EmulateViewport(width, height))
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(os.Getenv("SLOTSYNC_PICTURES"), name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// pasts gives the page passes to show: some busy ones among quiet ones.
func pasts(w watched, n int) {
	for i := range n {
		tally := shiftsync.Tally{Fetched: 2417, Unchanged: 2417}
		switch {
		case i == 0:
			tally = shiftsync.Tally{Fetched: 2417, Changed: 2417, Encoded: 2417, Published: 2417}
		case i%7 == 3:
			tally.Published, tally.Unchanged = 3*i%41+1, 2417-3*i%41-1
		}
		rep := report(tally)
		rep.Took = time.Duration(200+37*(i*i%23)+3*tally.Published) * time.Millisecond
		w.Done(rep, nil)
	}
}

// Every state of a worker is readable on every screen, in both themes, and nothing of it is cut.
func TestThePageIsReadableInEveryState(t *testing.T) {
	t.Parallel()
	now := shiftsync.Tally{Fetched: 2417, Unchanged: 2398, Published: 12}
	pending := func(n int) shiftsync.Report { rep := report(now); rep.Pending = n; return rep }
	outage := errors.Join(fmt.Errorf("%w: 1204 shifts intended, 0 left to the next pass", shiftsync.ErrPending),
		met(causeKafka, errors.New("kafka: gave up after 4 attempts: dial tcp 10.0.14.7:9092: connect: connection refused; dial tcp 10.0.14.8:9092: i/o timeout")))
	var shown atomic.Pointer[http.Handler] // the page goes on to ask while it is changed
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*shown.Load()).ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	var b *browser
	for _, c := range []struct {
		state string
		watch func(w watched)
	}{
		{"starting", func(watched) {}},
		{"standby", func(w watched) { w.Standby(shiftsync.Standing{Holder: "slotsync-6c9f7d5b8-x2v4q (process 1)"}) }},
		{"in step", func(w watched) { pasts(w, 200) }},
		{"first pass", func(w watched) { w.Reading(); w.Batch(shiftsync.Tally{Fetched: 41500, Published: 41000}) }},
		{"outage", func(w watched) {
			pasts(w, 60)
			w.health.needs.note(causeKafka, outage)
			for i := range 5 {
				w.Done(pending(241*i+240), outage)
			}
		}},
		{"outage with nothing to send", func(w watched) { pasts(w, 20); w.health.needs.note(causeKafka, outage) }},
		{"api refuses", func(w watched) {
			pasts(w, 12)
			err := errors.New("read shifts: GET https://api.wheniwork.com/2/shifts: status 401: User login required for this resource. (1000): the token in WIW_KEY is refused: give the worker a new one")
			w.health.needs.note(causeAPI, err)
			w.Done(report(shiftsync.Tally{}), met(causeAPI, err))
		}},
		{"no topic", func(w watched) {
			pasts(w, 3)
			err := met(causeKafka, fmt.Errorf("look at topic: kafka: topic shifts: %w: create it, with the partition count that its keys shall keep", publish.ErrNoTopic))
			w.health.needs.note(causeKafka, err)
			w.Done(report(shiftsync.Tally{}), err)
		}},
		{"set aside", func(w watched) {
			pasts(w, 30)
			w.SetAside(0, "id is missing or cannot be read")
			for i := range 7 {
				w.SetAside(2147483150+int64(i), "end_time is missing or cannot be read")
			}
			w.SetAside(2147483911, "too large: the record has 1,204,311 bytes, and the topic takes 1,048,588")
			rep := report(now)
			rep.SetAside = 9
			w.Done(rep, nil)
		}},
		{"dead letters", func(w watched) {
			pasts(w, 30)
			rep := report(now)
			rep.Unburied = 3
			w.Done(rep, errors.Join(fmt.Errorf("%w: 0 shifts intended, 0 left to the next pass", shiftsync.ErrPending),
				met(causeLetters, fmt.Errorf("3 bad shifts not set aside: bury: kafka: topic shifts-dlq: %w: create it, or unset DLQ_TOPIC", publish.ErrNoTopic))))
		}},
		{"held back", func(w watched) {
			pasts(w, 30)
			rep := report(now)
			rep.HeldBack, rep.Missing, rep.Gone, rep.Deferred = 2, 4, 1, 300
			rep.Notices = []string{"4 shifts of 9 are missing, more than GONE_SHARE allows: none is taken for deleted"}
			w.Done(rep, fmt.Errorf("%w: 0 shifts intended, 302 left to the next pass", shiftsync.ErrPending))
		}},
		{"layout", func(w watched) {
			w.Done(report(shiftsync.Tally{}), fmt.Errorf("bind: %w", &shiftsync.LayoutError{What: "the topic's number of partitions", Was: "6", Now: "12"}))
		}},
		{"limit", func(w watched) {
			pasts(w, 40)
			w.health.needs.note(causeKafka, outage)
			rep := pending(100_000)
			rep.NotCollected = 4031
			w.Done(rep, errors.Join(fmt.Errorf("%w: 100000 stand, 4031 changed shifts were left", shiftsync.ErrPendingLimit), outage))
		}},
	} {
		w := watch(t, false, nil)
		if c.state != "starting" && c.state != "standby" {
			w.Acquired(shiftsync.Standing{})
		}
		for _, d := range w.health.needs.now() {
			w.health.needs.note(d.Cause, nil)
		}
		c.watch(w)
		site := newWebsite(loadOK(t, minimal(env{"KAFKA_TOPIC_NAME": "shifts"})), w.observer)
		shown.Store(&site)
		if b == nil {
			b = browse(t, server.URL)
		}
		b.open(t, server.URL)
		b.readable(t, c.state)
		b.picture(t, c.state, 360, 1280)
	}
}
