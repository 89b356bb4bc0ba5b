package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/slotsync/slotsync/cmd/mini/world"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// collected is a collector of traces.
type collected struct {
	*httptest.Server

	mu       sync.Mutex // guards all below
	path     string
	header   http.Header
	resource map[string]string
	spans    []*tracev1.Span
	bytes    string // of all requests
}

func collect(t *testing.T) *collected {
	t.Helper()
	c := &collected{resource: map[string]string{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err := errors.Join(err, proto.Unmarshal(body, &req)); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.path, c.header, c.bytes = r.URL.Path, r.Header, c.bytes+string(body)
		for _, rs := range req.ResourceSpans {
			for _, a := range rs.Resource.Attributes {
				c.resource[a.Key] = a.Value.GetStringValue()
			}
			for _, ss := range rs.ScopeSpans {
				c.spans = append(c.spans, ss.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// tree is every span with its parent's name before it, sorted and each once.
func (c *collected) tree() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := map[string]string{}
	for _, s := range c.spans {
		names[string(s.SpanId)] = s.Name
	}
	var all []string
	for _, s := range c.spans {
		all = append(all, strings.TrimPrefix(names[string(s.ParentSpanId)]+" > "+s.Name, " > "))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (c *collected) attribute(span, name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		for _, a := range s.Attributes {
			if s.Name == span && a.Key == name {
				return fmt.Sprint(a.Value.GetStringValue(), a.Value.GetIntValue())
			}
		}
	}
	return ""
}

func TestAPassIsATrace(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=from-the-environment")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "team=payroll")
	w, c := start(t, world.Options{Shifts: 40, Partitions: 2}), collect(t)
	settings := env{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "DD_ENV": "test", "OTEL_SERVICE_NAME": "shifts"}
	if _, code, log := once(t, w, settings); code != 0 {
		t.Fatalf("got exit %d\n%s", code, log)
	}
	want := []string{"pass", "pass > intend", "pass > layout", "pass > look", "pass > lookup", "pass > prepare", "pass > publish", "pass > read",
		"pass > remember", "pass > roll", "pass > settle", "pass > sweep", "pass > wanted", "settle > begin", "settle > claim"}
	if got := c.tree(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if c.path != "/v1/traces" || c.header.Get("Api-Key") != "from-the-environment" {
		t.Errorf("got a request for %s with %v", c.path, c.header)
	}
	if r := c.resource; r["service.name"] != "shifts" || r["deployment.environment.name"] != "test" || r["team"] != "payroll" {
		t.Errorf("got the resource %v", r)
	}
	if got := c.attribute("pass", "slotsync.result"); !strings.HasPrefix(got, "ok") {
		t.Errorf("got the result %q", got)
	}
	if got := c.attribute("publish", "slotsync.shifts"); got == "" || got == "0" {
		t.Errorf("got %q shifts published", got)
	}
}

func TestATraceTellsWhatIsWrongAndNothingElse(t *testing.T) {
	w, c := start(t, world.Options{Shifts: 40}), collect(t)
	const token = "a-token-that-is-refused"
	if _, code, log := once(t, w, env{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.URL + "/here", "WIW_KEY": token}); code != 1 {
		t.Fatalf("got exit %d\n%s", code, log)
	}
	if c.path != "/here" {
		t.Errorf("got a request for %s", c.path)
	}
	if got := c.attribute("read", "slotsync.reason"); !strings.HasPrefix(got, "api") {
		t.Errorf("got the reason %q", got)
	}
	for _, secret := range []string{token, "made-up-session-token", "127.0.0.1", "401"} {
		if strings.Contains(c.bytes, secret) {
			t.Errorf("%s is in a trace", secret)
		}
	}
}

func TestALongPassHasABoundedTrace(t *testing.T) {
	c := collect(t)
	spans, err := newTraces(t.Context(), loadOK(t, minimal(env{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL})), quiet())
	if err != nil {
		t.Fatal(err)
	}
	spans.beginPass()
	for range spansPerPass + 7 {
		spans.begin(stepLookup, 500).end(nil)
	}
	spans.endsPass(shiftsync.Report{Pass: "p1"}, nil)
	spans.begin(stepLookup, 500).end(nil) // between passes
	if err := spans.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := len(c.spans), spansPerPass+1; got != want {
		t.Errorf("got %d spans, want %d", got, want)
	}
	if got := c.attribute("pass", "slotsync.steps_not_traced"); got != "7" {
		t.Errorf("got %q dropped, want 7", got)
	}
}

// The worker that is stopped in the middle of a pass tells nobody how it ended.
func TestAPassThatIsStoppedHasAWholeTrace(t *testing.T) {
	for claim, stop := range map[string]func(*traces){
		"in the loop":     func(*traces) {},
		"as the only one": func(s *traces) { s.endsPass(shiftsync.Report{Pass: "p1"}, fmt.Errorf("read: %w", context.Canceled)) },
	} {
		c := collect(t)
		spans, err := newTraces(t.Context(), loadOK(t, minimal(env{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL})), quiet())
		if err != nil {
			t.Fatal(err)
		}
		spans.beginPass()
		spans.beginSettling()
		spans.begin(stepBegin, 0).end(nil)
		stop(spans)
		if err := spans.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := c.tree(), []string{"pass", "pass > settle", "settle > begin"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", claim, got, want)
		}
		if got := c.attribute("pass", "slotsync.result"); !strings.HasPrefix(got, "stopped") {
			t.Errorf("%s: got the result %q, want stopped", claim, got)
		}
		if got := c.attribute("pass", "slotsync.reason"); got != "" {
			t.Errorf("%s: got the reason %q for a stop, which is no failure", claim, got)
		}
	}
}

func TestWhatACollectorAnswersIsNotLogged(t *testing.T) {
	for claim, answer := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "denied key="+r.Header.Get("Api-Key"), http.StatusUnauthorized)
		},
		"refused for now": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "60")
			http.Error(w, "body: denied key="+r.Header.Get("Api-Key"), http.StatusServiceUnavailable)
		},
		"taken in part": func(w http.ResponseWriter, r *http.Request) {
			body, err := proto.Marshal(&collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{
				RejectedSpans: 1, ErrorMessage: "denied key=" + r.Header.Get("Api-Key"),
			}})
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Type", "application/x-protobuf")
			_, _ = w.Write(body)
		},
	} {
		t.Run(claim, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=TOPSECRET-ECHO")
			server := httptest.NewServer(answer)
			t.Cleanup(server.Close)
			var log bytes.Buffer
			spans, err := newTraces(t.Context(), loadOK(t, minimal(env{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL})), slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			spans.beginPass()
			if err := spans.Close(); err != nil {
				t.Fatal(err)
			}
			if got := log.String(); strings.Count(got, "traces are lost") != 1 || strings.Contains(got, "TOPSECRET") || strings.Contains(got, "denied") {
				t.Errorf("got the log %s", got)
			}
			if claim == "refused" && !strings.Contains(log.String(), "401 Unauthorized") {
				t.Errorf("got the log %s, want the status", &log)
			}
		})
	}
}

func TestAUserInTheURLOfACollectorIsRefused(t *testing.T) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		_, err := load(nil, minimal(env{name: "http://me:hunter2@collector:4318"}).get, io.Discard)
		if got := fmt.Sprint(err); exitCode(err) != 2 || !strings.Contains(got, name) || !strings.Contains(got, "OTEL_EXPORTER_OTLP_HEADERS") || strings.Contains(got, "hunter2") {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

func TestWithoutACollectorThereAreNoTraces(t *testing.T) {
	for claim, settings := range map[string]env{
		"no endpoint": {},
		"turned off":  {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
	} {
		spans, err := newTraces(t.Context(), loadOK(t, minimal(settings)), quiet())
		if spans != nil || err != nil {
			t.Errorf("%s: got %v, %v", claim, spans, err)
		}
		if n := testing.AllocsPerRun(100, func() { spans.begin(stepLookup, 1).end(nil) }); n != 0 {
			t.Errorf("%s: a step costs %v allocations", claim, n)
		}
	}
}

func TestACollectorThatIsAwayHoldsUpNothing(t *testing.T) {
	w := start(t, world.Options{Shifts: 10})
	began := time.Now()
	_, code, log := once(t, w, env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + freeAddr(t)})
	if took := time.Since(began); code != 0 || took > 20*time.Second || strings.Count(log, "traces are lost") != 1 {
		t.Errorf("got exit %d after %s, want one line about it in\n%s", code, took, log)
	}
}
