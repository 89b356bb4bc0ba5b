package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// story tells what happens, in the order in which it happens.
type story struct {
	screen *screen
	reader *reader

	arrived int                      // records, told or not
	burst   []*kgo.Record            // those not told yet
	last    map[int64]map[string]any // the fields of each shift's last record, by id
	sums    map[kind]int
	deeds   int // of the office
	begun   time.Time
}

func newStory(s *screen, r *reader) *story {
	return &story{screen: s, reader: r, last: map[int64]map[string]any{}, sums: map[kind]int{}, begun: time.Now()}
}

const (
	quietFor     = 300 * time.Millisecond // a burst has ended
	catchUp      = 5 * time.Second        // the longest wait for records that are in the topic
	aloneOfBurst = 6                      // records that are told one by one
)

// tell tells what the worker logs, what the office does and what arrives in the topic, until ended is closed. lines is
// nil if there is no worker that could be told to stop when ctx ends.
func (s *story) tell(ctx context.Context, lines, deeds <-chan string, ended <-chan struct{}) {
	asked := ctx.Done()
	ctx, end := context.WithCancel(context.WithoutCancel(ctx)) // what the worker does last is told too
	arrivals := make(chan []*kgo.Record)
	go s.reader.follow(ctx, arrivals)
	defer func() {
		end()
		for range arrivals { // until follow has ended
		}
	}()
	quiet := time.NewTimer(quietFor)
	for {
		select {
		case line := <-lines:
			// What a line tells of is in the topic by now, and comes first.
			s.catchUp(arrivals)
			s.flush(ctx)
			s.screen.repeat(line)
		case deed := <-deeds:
			s.flush(ctx)
			s.deeds++
			s.screen.say(office, deed)
		case records := <-arrivals:
			s.take(records)
			quiet.Reset(quietFor)
		case <-quiet.C:
			s.flush(ctx)
		case <-asked:
			asked = nil
			if lines != nil {
				s.flush(ctx)
				s.screen.line("", "") // behind the terminal's ^C
				s.screen.line("", "Stopping when the worker is done with what it has in hand; once more kills it.")
			}
		case <-ended:
			s.catchUp(arrivals)
			s.flush(ctx)
			return
		}
	}
}

func (s *story) take(records []*kgo.Record) {
	s.arrived += len(records)
	s.burst = append(s.burst, records...)
}

// catchUp takes what is in the topic at its begin.
func (s *story) catchUp(arrivals <-chan []*kgo.Record) {
	late := time.NewTimer(catchUp)
	defer late.Stop()
	for written := s.reader.written(); s.arrived < written; {
		select {
		case records := <-arrivals:
			s.take(records)
		case <-late.C:
			s.screen.say(topic, fmt.Sprintf("? %d records cannot be read", written-s.arrived))
			return
		}
	}
}

// flush tells of the burst: of each record, or of the first ones of each partition and then how many there are.
func (s *story) flush(ctx context.Context) {
	byPartition := make([]int, partitions)
	told := 0
	say := s.screen.say
	for _, r := range s.burst {
		byPartition[r.Partition]++
		line := s.words(ctx, r)
		if len(s.burst) > aloneOfBurst && byPartition[r.Partition] > aloneOfBurst/partitions {
			continue
		}
		say(topic, line)
		say = s.screen.add // the time is said once
		told++
	}
	if more := len(s.burst) - told; more > 0 {
		line := fmt.Sprintf("… and %d more; in all %d in partition 0", more, byPartition[0])
		for p, n := range byPartition[1:] {
			line += fmt.Sprintf(", %d in %d", n, p+1)
		}
		s.screen.add(topic, line)
	}
	s.burst = nil
}

// words says what a record is, counts it, and remembers it for the next one of its shift.
func (s *story) words(ctx context.Context, r *kgo.Record) string {
	id, fields, err := s.reader.decode(ctx, r)
	place := fmt.Sprintf("%d/%d", r.Partition, r.Offset)
	if err != nil {
		return fmt.Sprintf("? %s cannot be read: %v", place, err)
	}
	room := s.screen.room()
	kind, text := words(s.last[id], fields, room/2)
	s.last[id] = fields
	s.sums[kind]++
	line := fmt.Sprintf("%s %-11d %-5s %s", kind, id, place, text)
	if kind == added {
		return cut(line, room)
	}
	return line
}

// sum says what there was in all.
func (s *story) sum() string {
	var kinds []string
	total := 0
	for _, k := range []struct {
		kind kind
		word string
	}{{added, "new"}, {changed, "changed"}, {same, "unchanged"}, {gone, "gone"}} {
		if n := s.sums[k.kind]; n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", n, k.word))
			total += n
		}
	}
	text := fmt.Sprintf("%d records", total)
	if len(kinds) > 0 {
		text += " (" + strings.Join(kinds, ", ") + ")"
	}
	if s.deeds > 0 {
		text += fmt.Sprintf(" after %d edits in the office", s.deeds)
	}
	return text + fmt.Sprintf(", in %.0f s", time.Since(s.begun).Seconds())
}
