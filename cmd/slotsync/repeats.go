package main

import (
	"strings"
	"time"
	"unicode"
)

// repeatEvery is between two lines of the log that say the same.
const repeatEvery = 5 * time.Minute

// repeats holds back what was said a short while ago. Trouble that lasts for hours comes with every pass.
type repeats struct {
	said string
	at   time.Time
	held int // how often it came since
}

// due tells whether to say the text now, and how often it was held back since it was said last.
func (r *repeats) due(text string) (now bool, held int) {
	text = withoutNumbers(text)
	if text == r.said && time.Since(r.at) < repeatEvery {
		r.held++
		return false, 0
	}
	if text == r.said {
		held = r.held
	}
	r.said, r.at, r.held = text, time.Now(), 0
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
