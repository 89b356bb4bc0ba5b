package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// newLog returns a logger that writes to s as the settings ask: for people, or as JSON for machines.
func newLog(s *screen, cfg *config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		level = slog.LevelInfo // cannot be: load has checked it
	}
	if readable(s, cfg) {
		return slog.New(newPlainHandler(s, level))
	}
	return slog.New(slog.NewJSONHandler(s, &slog.HandlerOptions{Level: level, ReplaceAttr: onOneLine}))
}

// onOneLine keeps texts of several lines, which joined errors are, from breaking up a line or filling it with \n.
func onOneLine(_ []string, a slog.Attr) slog.Attr {
	switch value := a.Value.Any().(type) {
	case error:
		a.Value = slog.StringValue(oneLine(value.Error()))
	case string:
		a.Value = slog.StringValue(oneLine(value))
	}
	return a
}

// oneLine puts "; " between the lines of a text, and makes all of it visible.
func oneLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	return visible(strings.Join(lines, "; "))
}

// visible writes as escapes what would not be seen but obeyed: a server's words may hold what a terminal takes for a
// command, or for a change of direction. Ends of lines stay.
func visible(text string) string {
	if strings.IndexFunc(text, obeyed) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if obeyed(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func obeyed(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }

// readable tells whether the log is for people.
func readable(s *screen, cfg *config) bool {
	return cfg.Log.Format == "text" || cfg.Log.Format == "" && s.terminal
}

// plainHandler writes records as a person wants to read them: the time of day, what is not an Info in capitals, the
// message, behind a colon the error if there is one, and the other attributes as slog's text handler has them, with
// its quoting.
type plainHandler struct {
	attrs slog.Handler // writes to out.line
	out   *plainOutput // shared with the handlers derived from this one
}

type plainOutput struct {
	mu   sync.Mutex // guards all below
	w    io.Writer
	line bytes.Buffer
}

func newPlainHandler(w io.Writer, level slog.Level) *plainHandler {
	out := &plainOutput{w: w}
	return &plainHandler{out: out, attrs: slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{} // Handle writes them
			}
			return onOneLine(groups, a)
		},
	})}
}

func (h *plainHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.attrs.Enabled(ctx, level)
}

func (h *plainHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	h.out.line.WriteString(r.Time.Format("15:04:05 "))
	if r.Level != slog.LevelInfo {
		h.out.line.WriteString(r.Level.String() + " ")
	}
	h.out.line.WriteString(oneLine(r.Message))
	rest := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if err, is := a.Value.Any().(error); is && a.Key == "err" {
			h.out.line.WriteString(": " + oneLine(err.Error()))
		} else {
			rest.AddAttrs(a)
		}
		return true
	})
	h.out.line.WriteByte(' ')
	if err := h.attrs.Handle(ctx, rest); err != nil {
		return err
	}
	_, err := h.out.w.Write(append(bytes.TrimRight(h.out.line.Bytes(), " \n"), '\n'))
	return err
}

func (h *plainHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &plainHandler{h.attrs.WithAttrs(attrs), h.out}
}

func (h *plainHandler) WithGroup(name string) slog.Handler {
	return &plainHandler{h.attrs.WithGroup(name), h.out}
}

// grouped writes n with a comma after each three digits, counted from the end.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
