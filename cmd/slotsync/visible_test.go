package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// hostile is what a server may say to a terminal: commands in both spellings, a deletion, a change of direction, a line
// that looks like one of ours, and bytes that are no text.
const hostile = "no \x1b]0;title\a\x1b[2J \u009b31m \x7f \u202eevil\u2066 \x00\r\n12:00:00 in step\t\xff"

// obeys returns the first character of a text that a terminal would obey.
func obeys(text string) string {
	for _, r := range text {
		if r != '\n' && !unicode.IsGraphic(r) {
			return fmt.Sprintf("%q in %q", r, text)
		}
	}
	return ""
}

func TestATerminalObeysNoServer(t *testing.T) {
	err := fmt.Errorf("redis: %w", errors.New(hostile))
	var seen bytes.Buffer
	for _, format := range []string{"text", "json"} {
		log := newLog(&screen{w: &seen}, loadOK(t, minimal(env{"LOG_FORMAT": format})))
		log.Warn("pass failed: "+hostile, "err", err, "holder", hostile, "warning", err)
	}
	if got, want := strings.Count(seen.String(), "\n"), 2; got != want {
		t.Errorf("got %d lines, want %d: %s", got, want, &seen)
	}
	complain(&seen, err)
	report := checkReport{Checks: []finding{fail(hostile, "%s", hostile).with("%s", hostile)}}
	if err := report.text(&seen, false); err != nil {
		t.Fatal(err)
	}
	if at := obeys(seen.String()); at != "" {
		t.Errorf("got %s", at)
	}
	if got, want := visible("Übergabe ☕ 100 % \u00a0\ttwo\nlines \x1b[2J"), "Übergabe ☕ 100 % \u00a0\\ttwo\nlines \\x1b[2J"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What comes in from a world whose servers mean harm, by each command that a person reads.
func TestATerminalObeysNoServerInAnyCommand(t *testing.T) {
	w := start(t, world.Options{})
	w.API.PutJSON(5, time.Now(), time.Now().Add(time.Hour), fmt.Sprintf(`{"id":5,"start_time":"%s","end_time":"%s","notes":"a\u001b[2Jb\u009b31mc\u007fd"}`,
		time.Now().Format(time.RFC3339), time.Now().Add(time.Hour).Format(time.RFC3339)))
	if _, code, log := once(t, w, nil); code != 0 {
		t.Fatal(log)
	}
	out, log, _ := call(t, w, nil, "tail", "--no-follow")
	if at := obeys(out + log); at != "" {
		t.Errorf("tail prints %s", at)
	}
	if lines := shown(t, out); len(lines) != 1 || lines[0]["value"].(map[string]any)["notes"] != "a\x1b[2Jb\u009b31mc\x7fd" {
		t.Errorf("tail keeps what is there, got %s", out)
	}

	w.Registry.SeedSchema(world.Topic+"-key", 9, 90, sr.Schema{Schema: `{"type":"record","name":"key","doc":"` + "\u009b31m\u202e" + `","fields":[{"name":"id","type":"long"}]}`})
	w.Redis.SetError("ERR " + hostile)
	for _, args := range []string{"schemas show", "check", "--once", "--once --dry-run", "--republish all --yes"} {
		out, log, _ := call(t, w, env{"LOG_FORMAT": "text"}, strings.Fields(args)...)
		if at := obeys(out + log); at != "" || out+log == "" {
			t.Errorf("%s prints %s", args, at)
		}
	}
}

// What goes into headers, keys, metrics and names must not be able to end them and begin something else.
func TestNoSettingTakesAControlCharacter(t *testing.T) {
	declared(t, func(tag reflect.StructTag) {
		if tag.Get("vars") == "" {
			return
		}
		usual := map[string]string{"http": "http://host", "https": "https://host", "redis": "redis://:pw@host", "udp": "udp://host"}[strings.Split(tag.Get("schemes"), ",")[0]]
		if tag.Get("default") != "" && usual == "" {
			usual = tag.Get("default")
		}
		for _, piece := range []string{"\nX-Evil: 1", "\r\nX-Evil: 1\r\n\r\n", "\x00", "\x1b[2J", "\x7fx", "\u0085x"} {
			for _, name := range strings.Split(tag.Get("vars"), ",") {
				value := cmp.Or(usual, "a") + piece + "b"
				all := minimal(nil)
				for _, other := range strings.Split(tag.Get("vars"), ",") {
					delete(all, other) // it would win
				}
				all[name] = value
				_, err := load(nil, all.get, io.Discard)
				if exitCode(err) != 2 || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: %q: got %v, want a wrong setting", name, value, err)
					continue
				}
				var seen bytes.Buffer
				complain(&seen, err)
				if at := obeys(seen.String()); at != "" || strings.Contains(seen.String(), "pw") {
					t.Errorf("%s: %q: the complaint has %s: %s", name, value, at, &seen)
				}
			}
		}
	})
}
