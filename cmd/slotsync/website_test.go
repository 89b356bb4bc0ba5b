package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// visit asks the website of what is watched, as it is served.
func (w watched) visit(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	lookOnly(newWebsite(loadOK(t, minimal(nil)), w.observer)).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec
}

// asJSON is the answer in JSON.
func asJSON[T any](t *testing.T, rec *httptest.ResponseRecorder) (answer T) {
	t.Helper()
	if got := rec.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("got a %s", got)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v in %s", err, rec.Body)
	}
	return answer
}

var errKafka = met(causeKafka, errors.New("kafka: topic shifts: no broker"))

func TestHowThingsStandIsOneLine(t *testing.T) {
	t.Parallel()
	ok := report(shiftsync.Tally{Fetched: 7, Unchanged: 7})
	pending := ok
	pending.Pending = 1204
	left := fmt.Errorf("%w: 0 shifts intended, 5 left to the next pass", shiftsync.ErrPending)
	outage := errors.Join(fmt.Errorf("%w: 1204 shifts intended", shiftsync.ErrPending), errKafka)
	inStep := func(w watched) { w.Acquired(shiftsync.Standing{}); w.Done(ok, nil) }
	for _, c := range []struct {
		claim string
		watch func(w watched)
		kind  string
		line  string // title, reason and error
		ready bool
	}{
		{"at first", func(watched) {}, "starting", "Starting: The first pass has not ended yet.", false},
		{"with the lease", func(w watched) { w.Acquired(shiftsync.Standing{}) }, "starting", "Starting: The first pass has not ended yet.", false},
		{"another one has it", func(w watched) { w.Standby(shiftsync.Standing{Holder: "worker-1 (process 7)"}) }, "standby", "Standing by: worker-1 (process 7) holds the lease.", true},
		{"a standby without Redis", func(w watched) {
			w.Standby(shiftsync.Standing{Holder: "other"})
			w.health.needs.note(causeRedis, errors.New("refused"))
			w.Done(shiftsync.Report{}, fmt.Errorf("acquire lease: %w", met(causeRedis, errors.New("refused"))))
		}, "bad", "Cannot stand by: Redis does not answer, or refuses to work. Redis: acquire lease: refused", false},
		{"a standby asks Redis alone", func(w watched) {
			inStep(w)
			w.health.needs.note(causeKafka, errKafka)
			w.Standby(shiftsync.Standing{Holder: "other"})
		},
			"standby", "Standing by: other holds the lease.", true},
		{"all went out", inStep, "ok", "In step: The topic shifts has all that the last pass saw.", true},
		{"Kafka is away and nothing had to go out", func(w watched) { inStep(w); w.health.needs.note(causeKafka, errKafka) },
			"warn", "In step: But the next change has to wait: Kafka is away, or does not take records. kafka: topic shifts: no broker", false},
		{"the registry is away and its schemas are known", func(w watched) { inStep(w); w.health.needs.note(causeRegistry, errors.New("refused")) },
			"ok", "In step: The topic shifts has all that the last pass saw.", true},
		{"something was left, of its own accord", func(w watched) { inStep(w); w.Done(ok, left) },
			"warn", "Not in step: The last pass left something to the next one. something stays pending: 0 shifts intended, 5 left to the next pass", true},
		{"Kafka is away", func(w watched) { inStep(w); w.Done(pending, outage) }, "bad",
			"Not in step: Kafka is away, or does not take records. Changes of 1,204 shifts wait in Redis. " +
				"something stays pending: 1204 shifts intended; kafka: topic shifts: no broker", false},
		{"Kafka was never there", func(w watched) { w.Done(shiftsync.Report{}, fmt.Errorf("find the kafka cluster: %w", errKafka)) }, "bad",
			"Not in step: Kafka is away, or does not take records. find the kafka cluster: kafka: topic shifts: no broker", false},
		{"the API fails", func(w watched) { inStep(w); w.Done(ok, met(causeAPI, errors.New("read shifts: 403"))) }, "bad",
			"Not in step: When I Work gives no answer that can be used. When I Work: read shifts: 403", false},
		{"an error of several lines", func(w watched) { inStep(w); w.Done(ok, errors.Join(errors.New("a"), errors.New("b"))) }, "bad",
			"Not in step: A pass failed. a; b", false},
		{"trouble is over", func(w watched) { inStep(w); w.Done(pending, outage); w.Done(ok, nil) }, "ok", "In step: The topic shifts has all that the last pass saw.", true},
		{"the lease is lost", func(w watched) { inStep(w); w.Lost() }, "starting", "Starting: The first pass has not ended yet.", false},
		{"it hangs", func(w watched) { inStep(w); <-time.After(10 * time.Minute) }, "bad",
			"Not in step: The worker hangs. no sign of life for 10m0s, 3m11s would be the longest", false},
		{"it lives and gets nowhere", func(w watched) {
			inStep(w)
			for range 10 {
				<-time.After(time.Minute)
				w.Batch(shiftsync.Tally{Fetched: 500})
			}
		}, "bad", "Not in step: The worker hangs. no pass has ended for 10m0s, 3m33s would be the longest", false},
	} {
		t.Run(c.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, false, nil)
				c.watch(w)
				o := w.health.overview()
				h := headlineOf(&o, "shifts")
				line := strings.Join(strings.Fields(h.Title+": "+h.Why+" "+h.Wait+" "+h.Error), " ")
				if h.Kind != c.kind || line != c.line {
					t.Errorf("got  %s, %s\nwant %s, %s", h.Kind, line, c.kind, c.line)
				}
				if o.Ready != c.ready || o.Ready != (o.Reason == "") {
					t.Errorf("got ready %v with the reason %q", o.Ready, o.Reason)
				}
				for _, path := range []string{"/readyz", "/api/health"} {
					if rec := w.visit(t, path); rec.Code != codeFor(c.ready) {
						t.Errorf("%s: got %d", path, rec.Code)
					}
				}
				page := w.visit(t, "/").Body.String()
				if !strings.Contains(page, `class="state `+c.kind+`"`) || !strings.Contains(page, h.Title) || !strings.Contains(page, "<p class=\"why\">"+h.Why) {
					t.Errorf("the page says something else:\n%s", page)
				}
			})
		})
	}
}

func TestTheTimesOfTheHeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, nil)
		ok := report(shiftsync.Tally{})
		at := map[string]time.Time{}
		step := func(name string, do func()) {
			<-time.After(10 * time.Second)
			at[name] = time.Now().UTC()
			do()
		}
		since := func(claim, want string) {
			t.Helper()
			o := w.health.overview()
			if got := headlineOf(&o, "shifts").Since; !got.Equal(at[want]) {
				t.Errorf("%s: since %s, want %s: %v", claim, got, want, at)
			}
		}
		step("the lease", func() { w.Acquired(shiftsync.Standing{}) })
		step("a failure", func() { w.Done(ok, errRedis) })
		since("never in step", "the lease")
		step("the first good", func() { w.Done(ok, nil) })
		step("the second good", func() { w.Done(ok, nil) })
		since("in step", "the first good")
		step("trouble", func() { w.Done(ok, errRedis) })
		since("since the last time that it was known", "the second good")
		step("the third good", func() { w.Done(ok, nil) })
		since("in step anew", "the third good")

		o := w.health.overview()
		if !o.PassBegan.IsZero() || !o.NextPass.Equal(at["the third good"].Add(10*time.Second)) {
			t.Errorf("between passes: got %+v", o)
		}
		<-time.After(13 * time.Second)
		if o := w.health.overview(); !o.PassBegan.Equal(at["the third good"].Add(10 * time.Second)) {
			t.Errorf("a pass that hangs before it reads shows its age: got %+v", o)
		}
		w.Reading()
		w.Batch(shiftsync.Tally{Fetched: 500})
		w.Batch(shiftsync.Tally{Fetched: 4, Published: 2})
		if o := w.health.overview(); o.PassFetched != 504 || o.PassSent != 2 || !o.PassBegan.Equal(at["the third good"].Add(10*time.Second)) {
			t.Errorf("a pass under way: got %+v", o)
		}
		w.Standby(shiftsync.Standing{Holder: "other"})
		w.Acquired(shiftsync.Standing{})
		step("a failure after standing by", func() { w.Done(ok, errRedis) })
		o = w.health.overview()
		if got := headlineOf(&o, "shifts").Since; !got.Equal(o.Since) {
			t.Errorf("what was before another worker had the lease says nothing: got %s, want %s", got, o.Since)
		}
	})
}

func TestALongPassIsGivenItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, nil)
		long := report(shiftsync.Tally{})
		long.Took = time.Hour
		w.Acquired(shiftsync.Standing{})
		w.Done(long, nil)
		for range 60 {
			<-time.After(time.Minute)
			w.Batch(shiftsync.Tally{Fetched: 500})
		}
		if c := w.health.condition(); !c.Ready {
			t.Errorf("a pass of an hour after another one of an hour: got %+v", c)
		}
	})
}

func TestPassesAreToldTheNewestFirstAndNotForEver(t *testing.T) {
	w := watch(t, false, nil)
	if rec := w.visit(t, "/api/passes"); strings.TrimSpace(rec.Body.String()) != `{"passes":[]}` {
		t.Errorf("at first: got %s", rec.Body)
	}
	w.Acquired(shiftsync.Standing{})
	for i := range 250 {
		rep := report(shiftsync.Tally{Fetched: i, Published: 1, StillAside: 2})
		rep.Pass, rep.Pending = fmt.Sprintf("pass-%d", i), 3
		rep.Notices = slices.Repeat([]string{strings.Repeat("ü", 900)}, 30)
		w.Done(rep, errors.New(strings.Repeat("é", 3000)))
	}
	w.Done(shiftsync.Report{}, errRedis)
	got := asJSON[struct{ Passes []endedPass }](t, w.visit(t, "/api/passes")).Passes
	if len(got) != keptPasses || got[0].ID != "" || got[0].Result != "failed" || got[0].Reason != errRedis.Error() || got[1].ID != "pass-249" {
		t.Fatalf("got %d, the first %+v", len(got), got[:2])
	}
	p := got[1]
	if p.Fetched != 249 || p.Published != 1 || p.SetAside != 2 || p.Pending != 3 || p.TookMS != 840 || p.Ended.Sub(p.Began) != 840*time.Millisecond || p.Cause != causeOther {
		t.Errorf("got %+v", p)
	}
	if len(p.Reason) > keptReason+8 || len(p.Notices) != keptNotices || len(p.Notices[0]) > keptReason+8 {
		t.Errorf("got %d bytes of reason, %d notices", len(p.Reason), len(p.Notices))
	}
	if strings.ContainsRune(p.Reason, '\uFFFD') {
		t.Error("a letter is cut in two")
	}
}

// A pass that could not read says nothing of the window, and one that did tells all that the log does.
func TestThePageTellsOfAPassWhatTheLogDoes(t *testing.T) {
	w := watch(t, false, nil)
	rep := report(shiftsync.Tally{})
	for v, i := reflect.ValueOf(&rep.Tally).Elem(), 0; i < v.NumField(); i++ {
		v.Field(i).SetInt(int64(100 + i))
	}
	rep.Pending, rep.Unburied, rep.Missing, rep.Swept = 201, 204, 202, 203
	w.Acquired(shiftsync.Standing{})
	w.Done(rep, nil)
	w.Done(report(shiftsync.Tally{}), errRedis)
	passes := asJSON[struct{ Passes []endedPass }](t, w.visit(t, "/api/passes")).Passes
	if got, want := fmt.Sprint(passes[1].figures()), fmt.Sprint(figures(rep)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	page := w.visit(t, "/").Body.String()
	for _, part := range []string{
		fmt.Sprintf("Shifts in the window</dt><dd>%d<", rep.Fetched), "Pending</dt><dd>0<", fmt.Sprintf("<small>%d wait for their dead letter", rep.Unburied),
	} {
		if !strings.Contains(page, part) {
			t.Errorf("%q is not on the page:\n%s", part, page)
		}
	}
}

func TestWhatWasSetAsideLatelyIsTold(t *testing.T) {
	w := watch(t, false, nil)
	for i := range 30 {
		w.SetAside(int64(i), "end_time is missing\nor cannot be read")
	}
	got := asJSON[overview](t, w.visit(t, "/api/health")).SetAside
	if len(got) != keptAside || got[0].ID != 29 || got[0].Reason != "end_time is missing; or cannot be read" {
		t.Errorf("got %+v", got)
	}
	w.SetAside(0, "no id")
	if page := w.visit(t, "/").Body.String(); !strings.Contains(page, "without an id") || !strings.Contains(page, "<b>29</b>") {
		t.Errorf("got\n%s", page)
	}
}

// What a pass that failed did not read it knows nothing of.
func TestThePageKeepsTheFiguresOfTheLastPassThatReadTheWindow(t *testing.T) {
	w := watch(t, false, nil)
	good := report(shiftsync.Tally{Fetched: 240, Unchanged: 230, StillAside: 7})
	good.Pass, good.Pending, good.Unburied = "good", 5, 6
	cut := report(shiftsync.Tally{Fetched: 3})
	cut.Pass, cut.Pending = "cut", 5 // which is known from the lease on
	w.Acquired(shiftsync.Standing{})
	w.Done(cut, errRedis)
	if o := w.health.overview(); o.LastRead != nil {
		t.Errorf("nothing was read yet: got %+v", o.LastRead)
	}
	shows := func(claim string, want bool, parts ...string) {
		t.Helper()
		page := w.visit(t, "/").Body.String()
		for _, part := range parts {
			if strings.Contains(page, part) != want {
				t.Errorf("%s: %q is on the page: %v, want %v", claim, part, !want, want)
			}
		}
	}
	shows("nothing was read yet", false, "Shifts in the window", "<dt>Set aside")
	shows("nothing was read yet", true, "<dt>Pending</dt><dd>5")
	figures := []string{"<dt>Shifts in the window</dt><dd>240", "<dt>Pending</dt><dd>5", "<dt>Set aside</dt><dd>7", "6 wait for their dead letter"}
	for _, step := range []struct {
		claim string
		rep   shiftsync.Report
		err   error
	}{
		{"in step", good, nil},
		{"the API fails in the middle", cut, met(causeAPI, errors.New("502"))},
		{"no pass begins", shiftsync.Report{}, errKafka},
	} {
		w.Done(step.rep, step.err)
		shows(step.claim, true, figures...)
		if o := w.health.overview(); o.LastRead == nil || o.LastRead.ID != "good" {
			t.Errorf("%s: got %+v", step.claim, o.LastRead)
		}
	}
	bad := good
	bad.Pass, bad.Fetched = "bad", 250
	for _, err := range []error{shiftsync.ErrTooManyBad, shiftsync.ErrPendingLimit, shiftsync.ErrPending} {
		w.Done(good, nil)
		w.Done(bad, err)
		shows("read to its end: "+err.Error(), true, "<dt>Shifts in the window</dt><dd>250")
	}
	for range keptPasses { // which fill the history
		w.Done(shiftsync.Report{}, errKafka)
	}
	shows("long ago", true, "<dt>Shifts in the window</dt><dd>250")
	w.Standby(shiftsync.Standing{Holder: "other"})
	w.Acquired(shiftsync.Standing{})
	shows("what was before another worker's turn", false, "Shifts in the window")
}

func TestATimeThatIsNotOfTodayHasItsDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, false, nil)
		w.Acquired(shiftsync.Standing{})
		w.Done(report(shiftsync.Tally{}), nil)
		now := time.Now().UTC()
		if page := w.visit(t, "/").Body.String(); !strings.Contains(page, now.Format(">15:04:05 UTC<")) || strings.Contains(page, "since <time datetime=\""+now.Format("2006-01-02T15:04:05.000Z")+now.Format("\">2006-01-02")) {
			t.Errorf("today: got\n%s", page)
		}
		for range 26 {
			<-time.After(time.Hour)
			w.Done(report(shiftsync.Tally{}), nil)
		}
		want := "since <time datetime=\"" + now.Format("2006-01-02T15:04:05.000Z") + now.Format("\">2006-01-02 15:04:05 UTC<")
		if page := w.visit(t, "/").Body.String(); !strings.Contains(page, want) {
			t.Errorf("a day later: want %s in\n%s", want, page)
		}
		if at := time.Now().UTC().AddDate(-1, 0, 0); when(at) != day(at) {
			t.Errorf("a year ago: got %s", when(at))
		}
	})
}

// An answer stays where it is while the rest of the page is renewed.
func TestALookAtAShiftSaysWhenItWas(t *testing.T) {
	w := watch(t, false, nil)
	if page := w.visit(t, "/").Body.String(); strings.Contains(page, "Asked at") {
		t.Error("nothing was asked, and the page says when")
	}
	page := w.visit(t, "/?shift=5").Body.String()
	_, answer, _ := strings.Cut(page, `<div id="answer"`)
	answer, _, _ = strings.Cut(answer, "</div>")
	if !strings.Contains(answer, "Asked at <time datetime=") {
		t.Errorf("got the answer %s", answer)
	}
}

func TestWhatIsSaidOfKafkaIsTrue(t *testing.T) {
	ok := report(shiftsync.Tally{})
	pending := errors.Join(fmt.Errorf("%w: 5 shifts intended", shiftsync.ErrPending), errKafka)
	for _, c := range []struct {
		claim    string
		watch    func(w watched)
		collects bool
	}{
		{"it was never there", func(w watched) { w.Done(shiftsync.Report{}, errKafka) }, false},
		{"a takeover without it", func(w watched) {
			w.Acquired(shiftsync.Standing{Open: 3})
			w.Done(ok, fmt.Errorf("look at topic: %w", errKafka))
		}, false},
		{"the limit is reached", func(w watched) {
			w.Acquired(shiftsync.Standing{})
			w.Done(ok, errors.Join(shiftsync.ErrPendingLimit, errKafka))
		}, false},
		{"passes collect", func(w watched) { w.Acquired(shiftsync.Standing{}); w.Done(ok, pending) }, true},
		{"nothing had to be collected", func(w watched) {
			w.Acquired(shiftsync.Standing{})
			w.Done(ok, nil)
			w.health.needs.note(causeKafka, errKafka)
		}, true},
	} {
		w := watch(t, false, nil)
		c.watch(w)
		o := w.health.overview()
		h := headlineOf(&o, "shifts")
		if strings.HasPrefix(h.Do, "Passes go on") != c.collects || strings.HasPrefix(h.Do, "Nothing more is collected") == c.collects {
			t.Errorf("%s: got %q", c.claim, h.Do)
		}
	}
}

func TestAPassIsKeptWithAllItsFigures(t *testing.T) {
	var rep shiftsync.Report
	rep.Pass = "p1"
	n := 0
	fill := func(v reflect.Value) {
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Int {
				n++
				f.SetInt(int64(n))
			}
		}
	}
	fill(reflect.ValueOf(&rep.Tally).Elem())
	fill(reflect.ValueOf(&rep).Elem())
	w := watch(t, false, nil)
	w.Done(rep, nil)
	kept := w.health.passes()[0]
	if got, want := kept.figures(), figures(rep); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	page, list := w.visit(t, "/").Body.String(), w.visit(t, "/api/passes").Body.String()
	for _, f := range figures(rep) {
		if text := strings.ReplaceAll(f.String(), " ", "\u00a0"); !strings.Contains(page, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
	for _, a := range rep.LogValue().Group() { // what the log has
		if field := fmt.Sprintf("%q:%s", a.Key, a.Value); a.Value.Kind() == slog.KindInt64 && !strings.Contains(list, field) {
			t.Errorf("/api/passes does not say %s:\n%s", field, list)
		}
	}
}

// troubles are errors that a pass ends with, by their cause.
func troubles() map[cause]error {
	pending := func(err error) error {
		return errors.Join(fmt.Errorf("%w: 3 shifts intended", shiftsync.ErrPending), err)
	}
	return map[cause]error{
		causeAPI:      fmt.Errorf("read shifts: %w", met(causeAPI, errors.New("403"))),
		causeRedis:    errors.Join(shiftsync.ErrLeaseLost, met(causeRedis, errors.New("refused"))),
		causeKafka:    errors.Join(shiftsync.ErrPendingLimit, errKafka),
		causeRegistry: fmt.Errorf("prepare schemas: %w", met(causeRegistry, errors.New("refused"))),
		causeLetters:  pending(met(causeLetters, fmt.Errorf("kafka: topic shifts-dlq: %w", publish.ErrNoTopic))),
		causeNoTopic:  fmt.Errorf("look at topic: %w", met(causeKafka, fmt.Errorf("kafka: topic shifts: %w", publish.ErrNoTopic))),
		causeCluster:  fmt.Errorf("look at topic: %w", met(causeKafka, publish.ErrOtherCluster)),
		causeFenced:   fmt.Errorf("publish: %w", met(causeKafka, shiftsync.ErrFenced)),
		causeLease:    fmt.Errorf("intend: %w", met(causeRedis, shiftsync.ErrLeaseLost)),
		causeLayout:   fmt.Errorf("bind: %w", met(causeRedis, &shiftsync.LayoutError{What: "a", Was: "b", Now: "c"})),
		causeLimit:    fmt.Errorf("%w: 100 stand", shiftsync.ErrPendingLimit),
		causeBad:      errors.Join(fmt.Errorf("%w: 5 of 7", shiftsync.ErrTooManyBad), met(causeLetters, errors.New("late"))),
		causeLeftOver: pending(nil),
		causeOther:    errors.New("hm"),
	}
}

func TestACauseIsOneWord(t *testing.T) {
	errs := troubles()
	for _, want := range causes() {
		if got := causeOf(errs[want]); got != want {
			t.Errorf("%v: got %q, want %q", errs[want], got, want)
		}
	}
	if len(errs) != len(causes()) {
		t.Errorf("got %d causes, want the %d that passes end with", len(causes()), len(errs))
	}
}

// Whoever comes from a monitor finds in the log and on the page what the monitor says.
func TestPageHealthLogAndMetricsSayTheSame(t *testing.T) {
	t.Parallel()
	for want, err := range troubles() {
		w := watch(t, false, env{"LOG_FORMAT": "json"})
		rep := report(shiftsync.Tally{})
		w.Acquired(shiftsync.Standing{})
		w.Done(rep, err)
		if want != causeOther && (want.words() == cause("").words() || want.advice() == "") {
			t.Errorf("%s: the page has no words for it", want)
		}
		if line := fmt.Sprintf(`"reason":%q`, want); !strings.Contains(w.seen.String(), line) {
			t.Errorf("got the log %s, want %s", w.seen, line)
		}
		if point := fmt.Sprintf("count %s reason:%s", metricTrouble, want); !slices.Contains(w.stats.lines, point) {
			t.Errorf("got the points %q, want %s", w.stats.lines, point)
		}
		passes := asJSON[struct{ Passes []endedPass }](t, w.visit(t, "/api/passes")).Passes
		if len(passes) != 1 || passes[0].Cause != want {
			t.Errorf("got the passes %+v, want one with the cause %s", passes, want)
		}
		o := asJSON[overview](t, w.visit(t, "/api/health"))
		if harmless := want == causeLeftOver || want == causeLetters; o.Ready != harmless || !harmless && o.Cause != want {
			t.Errorf("%s: got ready %v with the cause %q", want, o.Ready, o.Cause)
		}
		if page := w.visit(t, "/").Body.String(); !strings.Contains(page, want.words()) {
			t.Errorf("%s: the page says something else:\n%s", want, page)
		}
	}
}

func TestTheWebsiteIsLookedAtAndNothingElse(t *testing.T) {
	w := watch(t, false, nil)
	handler := lookOnly(newWebsite(loadOK(t, minimal(nil)), w.observer))
	ask := func(method, path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(method, path, strings.NewReader("{}")))
		return rec
	}
	paths := map[string]int{
		"/": 200, "/page.css": 200, "/page.js": 200, "/icon.svg": 200, "/healthz": 200, "/readyz": 503, "/api/health": 503, "/api/passes": 200,
		"/api/shifts/": 400, "/api/shifts/x": 400, "/api/shifts/5/6": 400, "/nothing": 404, "/page": 404, "/page/index.html": 404, "/index.html": 404,
	}
	for path, code := range paths {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
			want := code
			if method != "GET" && method != "HEAD" {
				want = http.StatusMethodNotAllowed
			}
			rec := ask(method, path)
			if rec.Code != want {
				t.Errorf("%s %s: got %d, want %d", method, path, rec.Code, want)
			}
			if want == http.StatusMethodNotAllowed && rec.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: got Allow %q", method, path, rec.Header().Get("Allow"))
			}
			for name, part := range map[string]string{
				"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
				"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := rec.Header().Get(name); !strings.Contains(got, part) {
					t.Errorf("%s %s: got %s %q, want %q in it", method, path, name, got, part)
				}
			}
		}
	}
	policy := ask("GET", "/").Header().Get("Content-Security-Policy")
	for _, part := range []string{"frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("%s is not in %s", part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("the policy lets through what is not ours: %s", policy)
	}
}

// Whoever can edit a shift or answer in the place of the API has a say in an error's text.
func TestWhatOthersWroteIsShownAndNotRun(t *testing.T) {
	const evil = `"><script>alert(1)</script>`
	w := watch(t, false, nil)
	w.Acquired(shiftsync.Standing{})
	w.SetAside(5, evil)
	rep := report(shiftsync.Tally{})
	rep.Notices = []string{evil}
	w.health.needs.note(causeKafka, errors.New(evil))
	w.Done(rep, errors.New(evil))
	page := w.visit(t, "/?shift="+`%22%3E%3Cscript%3Ealert(1)%3C/script%3E`).Body.String()
	if strings.Contains(page, "<script>") || strings.Contains(page, `""`) || strings.Count(page, "alert(1)") < 6 {
		t.Errorf("got\n%s", page)
	}
}

func TestALoopbackServerIsAskedByItsAddress(t *testing.T) {
	handler := loopbackOnly("worker.test", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for host, want := range map[string]int{
		"localhost:8080": 200, "localhost": 200, "127.0.0.1:8080": 200, "127.0.0.1": 200, "[::1]:8080": 200, "[::1]": 200, "worker.test:8080": 200,
		"evil.example:8080": 421, "evil.example": 421, "localhost.evil.example": 421, "": 421,
	} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.Host = host
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		if rec.Code != want {
			t.Errorf("%q: got %d, want %d", host, rec.Code, want)
		}
	}
}

// loopAt runs the program as a loop that serves HTTP, and returns what asks it.
func loopAt(t *testing.T, w *world.World, settings env) (worker *running, base string, ask func(path string) (int, string)) {
	t.Helper()
	worker, addr := loopHTTP(t, in(w, settings))
	base = "http://" + addr
	ask = func(path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var b strings.Builder
		if err := res.Write(&b); err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(b.String(), "\r\n\r\n")
		return res.StatusCode, body
	}
	return worker, base, ask
}

func TestAShiftIsLookedUpByItsID(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 20, Partitions: 1})
	w.API.PutJSON(7, time.Now(), time.Now().Add(time.Hour), `{"id":7,"notes":"Mrs Miller is ill"}`)
	var id int64
	for id = range truth(w) {
		if id != 7 {
			break
		}
	}
	worker, _, ask := loopAt(t, w, env{"SYNC_SLEEP_PERIOD_SECONDS": "3600"})
	worker.until(t, good, 1)
	path := fmt.Sprintf("/api/shifts/%d", id)
	code, body := ask(path)
	var got shiftAnswer
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 {
		t.Fatalf("got %d, %s, %v", code, body, err)
	}
	records := consume(t, w)
	i := slices.IndexFunc(records, func(r record) bool { return r.id == id })
	if r := got.Remembered; r == nil || r.Fingerprint != records[i].Headers["slotsync-hash"] || r.Offset != records[i].Offset || r.Schema == 0 ||
		time.Since(r.Acknowledged) > time.Minute || r.EndTime.IsZero() || got.ID != id {
		t.Errorf("got %s, want what is in the topic: %+v", body, records[i])
	}
	if code, body := ask("/api/shifts/7"); code != 200 || !strings.Contains(body, "start_time is missing") || strings.Contains(body, "Miller") {
		t.Errorf("set aside: got %d, %s", code, body)
	}
	if code, body := ask("/api/shifts/12345"); code != 404 || !strings.Contains(body, `"error":"shift 12345 is not known`) {
		t.Errorf("unknown: got %d, %s", code, body)
	}
	for _, bad := range []string{"", "x", "0", "-5", "1.5", "99999999999999999999"} {
		if code, body := ask("/api/shifts/" + bad); code != 400 || !strings.Contains(body, `"error":"the id`) {
			t.Errorf("%q: got %d, %s", bad, code, body)
		}
	}
	w.Redis.SetError("LOADING Redis is loading")
	if code, body := ask(path); code != 503 || !strings.Contains(body, "LOADING") {
		t.Errorf("without Redis: got %d, %s", code, body)
	}
	w.Redis.SetError("")
	refused := 0
	for range 30 {
		if code, _ := ask(path); code == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused < 20 {
		t.Errorf("%d of 30 questions at once were refused", refused)
	}
	if code, body := ask("/?shift=x"); code != 200 || !strings.Contains(body, "the id of a shift is a whole number") {
		t.Errorf("without a script: got %d, %s", code, body)
	}
}

func TestADeletedShiftIsNotSaidToBeInTheTopic(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 20, Partitions: 1})
	settings := env{"SYNC_DELETES": "tombstone", "GONE_SHARE": "1", "WIW_INCLUDE": "open", "SYNC_SLEEP_PERIOD_SECONDS": "3600"}
	if _, code, log := once(t, w, settings); code != 0 {
		t.Fatal(log)
	}
	ids := slices.DeleteFunc(slices.Sorted(maps.Keys(truth(w))), func(id int64) bool {
		s, _ := w.API.Get(id)
		return !s.Published || !s.IsShared.Set || s.StartTime.Before(time.Now())
	})
	if len(ids) < 2 {
		t.Fatalf("only %d shifts to choose from", len(ids))
	}
	deleted, kept := ids[0], ids[1]
	w.API.Delete(deleted)
	due(w)
	if _, code, log := once(t, w, settings); code != 0 {
		t.Fatal(log)
	}
	records := consume(t, w)
	last := records[len(records)-1]
	if last.id != deleted || last.Value != nil {
		t.Fatalf("got %+v, want the tombstone of shift %d", last, deleted)
	}
	worker, _, ask := loopAt(t, w, settings)
	worker.until(t, good, 1)
	for id, tombstone := range map[int64]bool{deleted: true, kept: false} {
		if code, body := ask(fmt.Sprintf("/api/shifts/%d", id)); code != 200 || !strings.Contains(body, fmt.Sprintf(`"tombstone":%t`, tombstone)) {
			t.Errorf("shift %d: got %d, %s, want the tombstone %t", id, code, body, tombstone)
		}
	}
	words := fmt.Sprintf("Shift %d: deleted: its tombstone is at partition 0, offset %d<", deleted, last.Offset)
	if _, page := ask(fmt.Sprintf("/?shift=%d", deleted)); !strings.Contains(page, words) || strings.Contains(page, "In the topic at") {
		t.Errorf("want %q in\n%s", words, page)
	}
	if _, page := ask(fmt.Sprintf("/?shift=%d", kept)); !strings.Contains(page, fmt.Sprintf("Shift %d: in the topic<", kept)) {
		t.Errorf("what is not deleted: got\n%s", page)
	}
}

func TestHowAShiftStandsInWords(t *testing.T) {
	was, gone := shiftsync.Version{Fingerprint: shiftsync.Fingerprint{1}}, shiftsync.Version{Fingerprint: shiftsync.FingerprintOf(nil)}
	at := func(v shiftsync.Version) *cache.RememberedShift {
		return &cache.RememberedShift{Version: v, Partition: 3, Offset: 77}
	}
	for want, kept := range map[string]cache.ShiftState{
		"in the topic": {Remembered: at(was)},
		"deleted: its tombstone is at partition 3, offset 77":                                        {Remembered: at(gone)},
		"an older version is in the topic, a newer one on its way":                                   {Remembered: at(was), Pending: &was},
		"deleted: its tombstone is on its way":                                                       {Remembered: at(was), Pending: &gone},
		"deleted: its tombstone is at partition 3, offset 77; a newer version is on its way":         {Remembered: at(gone), Pending: &was},
		"on its way to the topic":                                                                    {Pending: &was},
		"deleted: its tombstone is at partition 3, offset 77; a version was set aside; wanted again": {Remembered: at(gone), Aside: &cache.AsideShift{}, Wanted: true},
	} {
		if got := answerOf(5, &kept).Words(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// aLine to Redis on which nobody answers, and that keeps how long each of those who ask would wait.
type aLine struct {
	redis.Hook
	waits []time.Duration
}

func (l *aLine) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (l *aLine) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (l *aLine) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		deadline, _ := ctx.Deadline()
		l.waits = append(l.waits, time.Until(deadline))
		for _, cmd := range cmds {
			cmd.SetErr(context.DeadlineExceeded)
		}
		return context.DeadlineExceeded
	}
}

// Two looks a second of two seconds each, after five at once, hold few of the connections that the worker needs.
func TestALookAtAShiftTakesTwoSecondsAtMost(t *testing.T) {
	client, err := cache.Dial(cache.Config{URL: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	line := &aLine{}
	client.AddHook(line)
	d := newDesk()
	d.open(cache.New(client, "nowhere"))
	if _, no := d.ask(t.Context(), "5"); no == nil || no.status != http.StatusServiceUnavailable {
		t.Errorf("got %+v", no)
	}
	if len(line.waits) != 1 || line.waits[0] <= 0 || line.waits[0] > 2*time.Second {
		t.Errorf("got the waits %v, want one of 2 s", line.waits)
	}
}

// Whoever asks while the worker ends gets an answer, and not one of a client that is closed.
func TestTheDeskIsClosedWithTheWorker(t *testing.T) {
	cfg := loadOK(t, in(start(t, world.Options{Shifts: 5}), nil), "--once")
	stats := noMetrics()
	defer stats.Close()
	watch := newObserver(cfg, quiet(), stats, newScreen(io.Discard))
	if err := work(t.Context(), cfg, quiet(), watch, nil); err != nil {
		t.Fatal(err)
	}
	if watch.desk.store.Load() != nil {
		t.Error("the desk still asks a client that is closed")
	}
}

func TestAShiftCannotBeLookedUpBeforeTheDestinationIsKnown(t *testing.T) {
	w := watch(t, false, nil)
	if rec := w.visit(t, "/api/shifts/5"); rec.Code != 503 || !strings.Contains(rec.Body.String(), "Kafka has not answered") {
		t.Errorf("got %d, %s", rec.Code, rec.Body)
	}
}

func TestTheDependenciesAreKnownByTheirFate(t *testing.T) {
	t.Parallel()
	w := start(t, world.Options{Shifts: 5, Partitions: 1})
	worker, _, ask := loopAt(t, w, env{"SYNC_SLEEP_PERIOD_SECONDS": "0"})
	worker.until(t, good, 2)
	overviewNow := func() (int, overview) {
		t.Helper()
		code, body := ask("/api/health")
		var o overview
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		return code, o
	}
	code, o := overviewNow()
	if code != 200 || len(o.Dependencies) != 4 {
		t.Errorf("got %d, %+v", code, o)
	}
	for _, d := range o.Dependencies {
		if time.Since(d.Heard) > time.Minute || !d.Since.IsZero() {
			t.Errorf("%s: got %+v", d.Name, d)
		}
	}
	w.API.Fail(-1, wiwtest.Status(http.StatusForbidden, `{"error":"no"}`))
	worker.until(t, bad, 1)
	code, o = overviewNow()
	if code != 503 || o.Cause != causeAPI || !strings.HasPrefix(o.Reason, "When I Work: ") || o.Dependencies[0].Since.IsZero() {
		t.Errorf("the API says no: got %d, %+v", code, o)
	}
	worker.halt(t)
}

func TestNotAllErrorsAreOfTheDependency(t *testing.T) {
	d := newDependencies()
	for _, err := range []error{context.Canceled, shiftsync.ErrLeaseLost, fmt.Errorf("x: %w", shiftsync.ErrFenced)} {
		d.note(causeKafka, err)
		if got := met(causeKafka, err); got != err {
			t.Errorf("%v is told as %v", err, got)
		}
	}
	if _, gone := away(d.now()); gone {
		t.Error("Kafka is taken to be away")
	}
	d.note(causeKafka, publish.ErrNoTopic)
	if it, gone := away(d.now()); !gone || it.Cause != causeKafka {
		t.Errorf("got %+v", it)
	}
}
