package main

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

// repeatEvery is between two lines of the log that say the same.
const repeatEvery = 5 * time.Minute

// repeatTexts is how many texts of a kind are said in that time. One outage has some: a wait for it ends in its own
// limit, or in that of the step around it.
const repeatTexts = 3

// repeats holds back what was said a short while ago. Trouble that lasts for hours comes with every pass. The zero one
// has said nothing.
type repeats struct {
	kinds map[string]*wording
}

// wording is what was said of a kind of trouble.
type wording struct {
	texts []string
	at    time.Time // when the first of them was
	held  int       // how often the kind came since, and was held back
}

// due tells whether to say the text now, and how often one of its kind was held back since the last.
func (r *repeats) due(kind, text string) (now bool, held int) {
	text = withoutNumbers(text)
	last := r.kinds[kind]
	switch {
	case last == nil:
		if r.kinds == nil {
			r.kinds = map[string]*wording{}
		}
	case time.Since(last.at) >= repeatEvery:
		held = last.held
	case slices.Contains(last.texts, text) || len(last.texts) >= repeatTexts:
		last.held++
		return false, 0
	default:
		last.texts = append(last.texts, text)
		return true, 0
	}
	r.kinds[kind] = &wording{texts: []string{text}, at: time.Now()}
	return true, held
}

// withoutNumbers makes equal what differs in counts, times and ports only.
func withoutNumbers(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsDigit(c) {
			return -1
		}
		return c
	}, text)
}
