package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	shiftsync "github.com/slotsync/slotsync/sync"
)

const (
	spansPerPass = 500             // a pass over a million shifts has thousands of steps
	tracesLast   = 2 * time.Second // for sending the last of them

	resultStopped = "stopped" // of a pass that a trace is about
)

// traces makes a trace of each pass. A nil one makes none, and costs nothing.
type traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer

	mu      sync.Mutex      // guards all below
	pass    context.Context // with the span of the pass; nil: there is none
	settles context.Context // with the span of what earlier passes left open; nil: that is not going on
	left    int             // how many spans the pass may still have
	dropped int
}

// newTraces returns nil if the settings name nowhere to send traces to.
func newTraces(ctx context.Context, cfg *config, log *slog.Logger) (*traces, error) {
	if !cfg.traces() {
		return nil, nil
	}
	otel.SetErrorHandler(traceTrouble(log)) // the library's own prints to stderr; there is one for the process
	exporter, err := otlptracehttp.New(ctx, cfg.traceOptions()...)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(cfg.traceAttributes()...),
		resource.WithFromEnv(), // OTEL_RESOURCE_ATTRIBUTES
		resource.WithAttributes(attribute.String("service.name", cfg.serviceName())),
	)
	if err != nil {
		return nil, fmt.Errorf("traces: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about)) // its queue drops what is too much
	return &traces{provider: provider, tracer: provider.Tracer("github.com/slotsync/slotsync")}, nil
}

// traces tells whether there is a place to send traces to.
func (c *config) traces() bool {
	t := &c.Traces
	return t.Exporter != "none" && (t.Endpoint.Reveal() != "" || t.Whole.Reveal() != "")
}

// traceOptions say where to send traces. Headers, time limit, compression and certificates the library reads itself, from
// the variables that OpenTelemetry has for them.
func (c *config) traceOptions() []otlptracehttp.Option {
	at := c.Traces.Whole.Reveal()
	if at == "" {
		at = strings.TrimSuffix(c.Traces.Endpoint.Reveal(), "/") + "/v1/traces"
	}
	return []otlptracehttp.Option{otlptracehttp.WithEndpointURL(at)}
}

// traceAttributes are the tags of all metrics, by the names that traces have for them.
func (c *config) traceAttributes() []attribute.KeyValue {
	attributes := []attribute.KeyValue{attribute.String("service.version", cmp.Or(c.Metrics.Version, moduleVersion()))}
	if c.Metrics.Env != "" {
		attributes = append(attributes, attribute.String("deployment.environment.name", c.Metrics.Env))
	}
	return attributes
}

func (c *config) serviceName() string {
	return cmp.Or(c.Traces.Service, c.Metrics.Service, "slotsync")
}

// traceTrouble logs what goes wrong with traces, once in a while: their collector may be away for long.
func traceTrouble(log *slog.Logger) otel.ErrorHandlerFunc {
	var mu sync.Mutex // guards last
	var last time.Time
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) >= repeatEvery {
			last = time.Now()
			log.Warn("traces are lost", "err", ownWords(err.Error()))
		}
	}
}

// ownWords leaves out what a collector answered: it may quote what it was sent, its headers and what is secret in them
// included.
func ownWords(text string) string {
	for _, begin := range []string{"body: ", "partial success: "} {
		own, _, answered := strings.Cut(text, begin)
		if answered {
			text = strings.TrimRight(own+strings.TrimSuffix(begin, "body: "), ": (")
		}
	}
	return text
}

// Close sends what is left. A collector that does not answer is no fault of the work.
func (t *traces) Close() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	t.stopPass()
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), tracesLast)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
	return nil
}

// beginPass begins a pass, with its first step.
func (t *traces) beginPass() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopPass()
	t.pass, _ = t.tracer.Start(context.Background(), "pass", trace.WithNewRoot())
	t.left, t.dropped = spansPerPass, 0
}

// beginSettling begins the part of a pass that sends again what earlier ones left open, unless it has begun.
func (t *traces) beginSettling() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pass != nil && t.settles == nil {
		t.settles, _ = t.tracer.Start(t.pass, "settle")
	}
}

// endSettling tells that the window is about to be read.
func (t *traces) endSettling() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settled()
}

// settled is called with mu held.
func (t *traces) settled() {
	if t.settles != nil {
		trace.SpanFromContext(t.settles).End()
		t.settles = nil
	}
}

// begin begins the span of a step; with shifts above 0 it tells how many.
func (t *traces) begin(step string, shifts int) span {
	if t == nil {
		return span{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pass == nil {
		return span{} // between passes
	}
	if t.left--; t.left < 0 {
		t.dropped++
		return span{}
	}
	parent := t.pass
	if t.settles != nil {
		parent = t.settles
	}
	_, s := t.tracer.Start(parent, step)
	if shifts > 0 {
		s.SetAttributes(attribute.Int("slotsync.shifts", shifts))
	}
	return span{s}
}

// endsPass ends the pass that the report is about.
func (t *traces) endsPass(rep shiftsync.Report, err error) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pass == nil {
		return
	}
	s := trace.SpanFromContext(t.pass)
	result := resultOf(rep, err)
	if stopped(err) {
		result = resultStopped
	}
	s.SetAttributes(
		attribute.String("slotsync.pass", rep.Pass),
		attribute.String("slotsync.result", result),
		attribute.Int("slotsync.fetched", rep.Fetched),
		attribute.Int("slotsync.unchanged", rep.Unchanged),
		attribute.Int("slotsync.published", rep.Published),
		attribute.Int("slotsync.set_aside", rep.SetAside+rep.StillAside),
		attribute.Int("slotsync.pending", rep.Pending),
	)
	if t.dropped > 0 {
		s.SetAttributes(attribute.Int("slotsync.steps_not_traced", t.dropped))
	}
	if result != resultOK && result != resultStopped {
		span{s}.fail(err)
	}
	t.endPass()
}

// stopPass ends a pass that was stopped, if there is one: nobody tells its end. It is called with mu held.
func (t *traces) stopPass() {
	if t.pass != nil {
		trace.SpanFromContext(t.pass).SetAttributes(attribute.String("slotsync.result", resultStopped))
	}
	t.endPass()
}

// endPass is called with mu held.
func (t *traces) endPass() {
	t.settled()
	if t.pass != nil {
		trace.SpanFromContext(t.pass).End()
		t.pass = nil
	}
}

// span is a step that goes on; the zero one is not traced.
type span struct{ trace.Span }

func (s span) end(err error) {
	if s.Span == nil {
		return
	}
	if err != nil {
		s.fail(err)
	}
	s.End()
}

// fail says why in a word: addresses and ids of an error's text are for the log.
func (s span) fail(err error) {
	reason := string(causeOf(err))
	s.SetAttributes(attribute.String("slotsync.reason", reason))
	s.SetStatus(codes.Error, reason)
}

// tracedObserver tells traces where a pass is.
type tracedObserver struct {
	shiftsync.Observer
	spans *traces
}

func (o tracedObserver) Reading() {
	o.spans.endSettling()
	o.Observer.Reading()
}

func (o tracedObserver) Done(rep shiftsync.Report, err error) {
	o.spans.endsPass(rep, err)
	o.Observer.Done(rep, err)
}
