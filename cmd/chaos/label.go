//go:build linux

package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// label tells versions of all shifts apart by their content: a number, and what kind of version it is.
type label int32

// kind is where a version leaves its shift.
type kind int32

const (
	listed     kind = iota // in the window, and in the API's list of it
	away                   // out of the window
	unlisted               // in the window, and not in the list
	unreadable             // in the list, as something that cannot be made a record
	large                  // in the list, and as a record larger than the topic takes
	gone                   // deleted
	kinds
)

// tombstone is the label of every shift that is gone.
const tombstone = label(gone)

func newLabel(n int32, k kind) label { return label(n*int32(kinds) + int32(k)) }

func (l label) kind() kind    { return kind(int32(l) % int32(kinds)) }
func (l label) number() int32 { return int32(l) / int32(kinds) }

func (l label) String() string {
	if l == tombstone {
		return "deleted"
	}
	return fmt.Sprint(l.number()) + [...]string{"", " away", " unlisted", " unreadable", " large", ""}[l.kind()]
}

// bad tells whether a version of this kind cannot be published.
func (k kind) bad() bool { return k == unreadable || k == large }

// shown tells whether the API's list of the window has it.
func (k kind) shown() bool { return k == listed || k.bad() }

// mostRecord is the topic's max.message.bytes. A whole batch of usual shifts still fits, and a large one does not.
const mostRecord = 60_000

var padding = strings.Repeat("0123456789abcdef", mostRecord*5/4/16)

// content is what a label stands for. Of every other shift, the API does not move the "updated at" when it changes: there
// a shift that is taken back looks no older than what it was changed to, and is believed at once.
func (s *shift) content(l label) shiftsync.Shift {
	c, n := s.base, l.number()
	c.Notes = fmt.Sprintf("nOtE~%d~", l)
	if c.ID%2 == 0 {
		c.UpdatedAt = c.UpdatedAt.Add(time.Duration(n) * time.Second)
	}
	c.EndTime = c.EndTime.Add(time.Duration(n%7) * 15 * time.Minute)
	switch l.kind() {
	case away:
		c.StartTime, c.EndTime = c.StartTime.AddDate(0, 0, 20), c.EndTime.AddDate(0, 0, 20)
	case unlisted:
		c.Published = false
	case large:
		c.Notes += padding
	}
	return c
}

// say makes the API say what a label stands for.
func (s *shift) say(api *wiwtest.Server, l label) {
	c := s.content(l)
	switch l.kind() {
	case gone:
		api.Delete(s.base.ID)
	case unreadable:
		api.PutJSON(c.ID, c.StartTime, c.EndTime, fmt.Sprintf(`{"id":%d,"account_id":%d,"start_time":%q,"end_time":"soon","notes":%q}`,
			c.ID, c.AccountID, c.StartTime.Format(time.RFC1123Z), c.Notes))
	default:
		api.Put(c, s.shape)
	}
}

var noted = regexp.MustCompile(`nOtE~(\d+)~`)

// labelIn finds the label in a text that holds notes.
func labelIn(text string) (label, bool) {
	m := noted.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	return label(n), err == nil
}
