package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"
)

// screen is where people look. On a terminal, lines are shaped to its width; elsewhere they are as long as they are.
type screen struct {
	w      io.Writer
	fd     int  // of the terminal; negative: it is none
	colour bool // of the names of who speaks
	lost   func()
}

// newScreen returns a screen on w. It calls lost when w takes nothing any more, because a pipe's reader is gone.
func newScreen(w io.Writer, environ []string, lost func()) *screen {
	s := &screen{w: w, fd: -1, lost: lost}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.fd = int(f.Fd())
		s.colour = !slices.Contains(environ, "TERM=dumb") &&
			!slices.ContainsFunc(environ, func(kv string) bool { return strings.HasPrefix(kv, "NO_COLOR=") && kv != "NO_COLOR=" })
	}
	return s
}

// width is asked for with each line, since a window can be drawn larger and smaller. 0: no limit.
func (s *screen) width() int {
	if s.fd < 0 {
		return 0
	}
	width, _, err := term.GetSize(s.fd)
	if err != nil {
		return 0
	}
	return width
}

// speaker is one of those who have something to say.
type speaker string

const (
	office speaker = "office"
	worker speaker = "worker"
	topic  speaker = "topic"
)

// hue is the escape that colours a speaker's name.
func (who speaker) hue() string {
	switch who {
	case office:
		return "\x1b[33m"
	case topic:
		return "\x1b[32m"
	}
	return "\x1b[36m"
}

const (
	speakerWidth = len("office ")
	timeWidth    = len(time.TimeOnly + " ")
)

// room is how much of a line is left for what somebody says; 0: no limit.
func (s *screen) room() int {
	if width := s.width(); width > 0 {
		return max(width-speakerWidth-timeWidth, 20)
	}
	return 0
}

// say writes what somebody says, now. More than fits into a line is continued, indented, in further ones.
func (s *screen) say(who speaker, text string) {
	s.tell(who, time.Now().Format(time.TimeOnly)+" ", text)
}

// repeat writes a line that the worker has logged, which begins with the time.
func (s *screen) repeat(line string) {
	at, text, _ := strings.Cut(line, " ")
	if _, err := time.Parse(time.TimeOnly, at); err != nil {
		s.add(worker, line)
		return
	}
	s.tell(worker, at+" ", text)
}

// add continues what somebody said.
func (s *screen) add(who speaker, text string) {
	s.tell(who, strings.Repeat(" ", timeWidth), text)
}

// tell writes text behind the name of who and a margin.
func (s *screen) tell(who speaker, margin, text string) {
	name := fmt.Sprintf("%-*s", speakerWidth, who)
	shown := name
	if s.colour {
		shown = who.hue() + name + "\x1b[0m"
	}
	s.shape(name+margin, shown+margin, text)
}

// line writes text behind a margin, and continues it below itself.
func (s *screen) line(margin, text string) { s.shape(margin, margin, text) }

func (s *screen) shape(margin, shown, text string) {
	limit := 0
	if width := s.width(); width > 0 {
		limit = max(width-cells(margin), 20)
	}
	for _, part := range wrap(clean(text), limit) {
		if _, err := fmt.Fprintln(s.w, strings.TrimRight(shown+part, " ")); err != nil {
			s.lost()
			return
		}
		shown = strings.Repeat(" ", cells(margin))
	}
}

// wrap breaks text between words into lines of at most limit cells, and a word only if it is longer than a line.
func wrap(text string, limit int) []string {
	var lines []string
	text = strings.TrimRight(text, " ")
	for limit > 0 && cells(text) > limit {
		head := begin(text, limit)
		if space := strings.LastIndexByte(head, ' '); space > 0 && text[len(head)] != ' ' {
			head = head[:space]
		}
		lines = append(lines, strings.TrimRight(head, " "))
		text = strings.TrimLeft(text[len(head):], " ")
	}
	return append(lines, text)
}

// cut shortens text to at most limit cells; 0: no limit.
func cut(text string, limit int) string {
	if limit <= 0 || cells(text) <= limit {
		return text
	}
	return strings.TrimRight(begin(text, limit-1), " ") + "…"
}

// begin returns as much of text as fits into limit cells, but at least one character.
func begin(text string, limit int) string {
	used := 0
	for i, r := range text {
		if used += cellsOf(r); used > limit && i > 0 {
			return text[:i]
		}
	}
	return text
}

// cells is how many columns of a terminal text takes.
func cells(text string) int {
	n := 0
	for _, r := range text {
		n += cellsOf(r)
	}
	return n
}

// cellsOf takes a symbol for wide in doubt: a line that ends early does no harm.
func cellsOf(r rune) int {
	switch {
	case unicode.Is(unicode.Mn, r), unicode.Is(unicode.Me, r):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2600 && r <= 0x27bf, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f000:
		return 2
	}
	return 1
}

// clean makes text from elsewhere harmless: one line, and nothing that a terminal obeys, such as an escape or a mark
// that turns the direction of writing.
func clean(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\u2028', r == '\u2029':
			return '⏎'
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '�'
		}
		return r
	}, text)
}
