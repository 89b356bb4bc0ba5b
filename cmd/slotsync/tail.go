package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// tailOptions say what of the topic is to be seen.
type tailOptions struct {
	From   *publish.Start `name:"from" placeholder:"WHERE" help:"Where to begin: beginning, end, a time like 2026-11-21T06:00:00Z, or an age like 15m. Unset: end, and with --no-follow beginning."`
	ID     int64          `name:"id" placeholder:"ID" help:"Show the records of this shift only."`
	Lines  int            `name:"lines" short:"n" placeholder:"N" min:"1" help:"End after this many records."`
	Dead   bool           `name:"dead-letters" help:"Show those of DLQ_TOPIC in place of the topic."`
	Follow bool           `name:"follow" default:"true" negatable:"" help:"Wait for records that are yet to come; --no-follow ends at what is there."`
}

// start returns where to begin.
func (o tailOptions) start() publish.Start {
	switch {
	case o.From != nil:
		return *o.From
	case o.Follow:
		return publish.End()
	default:
		return publish.Beginning()
	}
}

// tailLine is how a record is shown.
type tailLine struct {
	Partition   int                `json:"partition"`
	Offset      int64              `json:"offset"`
	Time        time.Time          `json:"time"`
	Key         map[string]any     `json:"key,omitempty"`
	Value       json.RawMessage    `json:"value,omitempty"` // null for a tombstone
	Headers     map[string]string  `json:"headers,omitempty"`
	KeySchema   shiftsync.SchemaID `json:"key_schema,omitempty"`
	ValueSchema shiftsync.SchemaID `json:"value_schema,omitempty"`

	// What can be said of a record that cannot be decoded.
	Error      string `json:"error,omitempty"`
	KeyBytes   *int   `json:"key_bytes,omitempty"`
	ValueBytes *int   `json:"value_bytes,omitempty"`
}

// errEnough ends what prints: it has shown as much as was asked for, or whoever read it has gone.
var errEnough = errors.New("enough")

// printed returns what came of a write to the standard output. A broken pipe there is no fault, unlike one to a server.
func printed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE):
		return errEnough
	}
	return fmt.Errorf("print: %w", err)
}

// tail prints the topic's records as lines of JSON, until ctx ends, or stdout does, or all is shown.
func tail(ctx context.Context, cfg *config, log *slog.Logger, stdout io.Writer) (err error) {
	if cfg.Tail.Dead {
		other := *cfg
		other.Kafka.Topic, other.Kafka.Partition = cfg.Kafka.DeadLetters, nil
		cfg = &other
	}
	registry, err := newRegistry(cfg)
	if err != nil {
		return err
	}
	kafka, err := newKafka(cfg, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, kafka, "close Kafka's connections")

	lines := json.NewEncoder(escaping{stdout})
	lines.SetEscapeHTML(false)
	shown := 0
	err = publish.NewReader(kafka, registry).Follow(ctx, cfg.Tail.start(), !cfg.Tail.Follow, func(d publish.Decoded) error {
		if id, ok := d.ID(); cfg.Tail.ID != 0 && (!ok || id != cfg.Tail.ID) {
			return nil
		}
		line, err := newTailLine(d)
		if err != nil {
			return err
		}
		if err := printed(lines.Encode(line)); err != nil {
			return err
		}
		if shown++; shown == cfg.Tail.Lines {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return nil
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("tail: %w", err)
	}
	return nil
}

// escaping writes lines of JSON to a terminal that must not obey what stands in them: JSON leaves alone the second half of
// the control characters.
type escaping struct{ io.Writer }

func (e escaping) Write(line []byte) (int, error) {
	var safe []byte
	for _, r := range string(line) {
		if r >= '\x7f' && r < '\u00a0' {
			safe = fmt.Appendf(safe, `\u%04x`, r)
		} else {
			safe = utf8.AppendRune(safe, r)
		}
	}
	if _, err := e.Writer.Write(safe); err != nil {
		return 0, err
	}
	return len(line), nil
}

func newTailLine(d publish.Decoded) (tailLine, error) {
	line := tailLine{
		Partition:   d.Partition,
		Offset:      d.Offset,
		Time:        d.Time.UTC(),
		Key:         d.Key,
		KeySchema:   d.KeySchema,
		ValueSchema: d.ValueSchema,
	}
	for name, text := range d.Headers {
		if line.Headers == nil {
			line.Headers = make(map[string]string, len(d.Headers))
		}
		line.Headers[name] = printable(text)
	}
	if d.Value != nil || d.Tombstone {
		// An encoder of its own: Marshal would write < and > as escapes, which nobody needs here.
		var value strings.Builder
		e := json.NewEncoder(&value)
		e.SetEscapeHTML(false)
		if err := e.Encode(d.Value); err != nil {
			return line, fmt.Errorf("show partition %d, offset %d: %w", d.Partition, d.Offset, err)
		}
		line.Value = json.RawMessage(value.String())
	}
	if d.Err != nil {
		line.Error, line.KeyBytes, line.ValueBytes = d.Err.Error(), &d.KeyBytes, &d.ValueBytes
	}
	return line, nil
}

// printable returns a header's text, or its bytes in hexadecimal where it has none.
func printable(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return "0x" + hex.EncodeToString([]byte(text))
}
