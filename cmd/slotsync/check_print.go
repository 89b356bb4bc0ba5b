package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// checkReport is the whole answer of slotsync check.
type checkReport struct {
	Verdict   verdict    `json:"status"` // the worst one
	Checks    []finding  `json:"checks"`
	Migration *migration `json:"migration,omitempty"`
}

const (
	pageWidth  = 80 // where the page is no terminal that says how wide it is
	leastWidth = 60
	titleWidth = 16
	margin     = 2 + 4 + 2 + titleWidth + 2 // before what was seen
)

func (r *checkReport) json(w io.Writer, _ bool) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// text writes a line for each check, below it what to do, and of those that were not looked at how many there are.
func (r *checkReport) text(w io.Writer, colours bool) error {
	var b strings.Builder
	width := widthOf(w)
	group, skipped := "", 0
	flush := func() {
		if skipped > 0 {
			fmt.Fprintf(&b, "  %-4s  %d more not looked at, because of the above\n", "-", skipped)
		}
		skipped = 0
	}
	for _, f := range r.Checks {
		if f.Group != group {
			flush()
			if group != "" {
				b.WriteByte('\n')
			}
			group = f.Group
			b.WriteString(group + "\n")
		}
		if f.Verdict == verdictSkip {
			skipped++
			continue
		}
		word := string(f.Verdict)
		if f.Verdict == verdictFail {
			word = "FAIL"
		}
		fmt.Fprintf(&b, "  %s  %-*s  %s\n", coloured(fmt.Sprintf("%-4s", word), f.Verdict, colours),
			titleWidth, f.title, wrapped(f.Seen, width, margin, margin))
		if f.Advice != "" {
			fmt.Fprintf(&b, "%*s→ %s\n", margin, "", wrapped(f.Advice, width, margin+2, margin+2))
		}
		if f.Command != "" {
			fmt.Fprintf(&b, "        %s\n", visible(f.Command)) // in one piece, to be copied
		}
	}
	flush()
	if r.Migration != nil {
		b.WriteString("\n" + r.Migration.text(width))
	}
	counts := map[verdict]int{}
	for _, f := range r.Checks {
		counts[f.Verdict]++
	}
	fmt.Fprintf(&b, "\n%d ok, %d warn, %d FAIL", counts[verdictOK], counts[verdictWarn], counts[verdictFail])
	if n := counts[verdictSkip]; n > 0 {
		fmt.Fprintf(&b, ", %d not looked at", n)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// widthOf returns how many columns the page has.
func widthOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return max(width, leastWidth)
		}
	}
	return pageWidth
}

func coloured(text string, v verdict, colours bool) string {
	code := map[verdict]string{verdictOK: "32", verdictWarn: "33", verdictFail: "31"}[v]
	if !colours || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// wrapped breaks text between words so that it ends before the edge of the page. It begins at column used; further
// lines are indented.
func wrapped(text string, width, used, indent int) string {
	var b strings.Builder
	column := used
	for i, word := range strings.Fields(visible(text)) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
