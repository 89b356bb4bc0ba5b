//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// score is what is counted of a run.
type score struct {
	strikes  []strike
	kills    int
	inFlight int // of the kills: how many met a batch on its way to a broker
	rests    int // at which topic and truth were compared

	takeovers, stops []time.Duration
}

// strike is one fault, and how it went.
type strike struct {
	name     string
	lasted   time.Duration // the fault itself
	recovery time.Duration // from its end until all that had changed by then had arrived
}

// print writes what the run came to.
func (s *score) print(w io.Writer, took time.Duration, books *accounts, changed counts, heard troubles, broken error) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nfault\ttimes\trecovery: median\tlongest")
	byName := map[string][]time.Duration{}
	for _, k := range s.strikes {
		byName[k.name] = append(byName[k.name], k.recovery)
	}
	for _, faults := range [][]fault{deadly(), harmful()} {
		for _, f := range faults {
			if took := byName[f.name]; len(took) > 0 {
				fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", f.name, len(took), seconds(median(took)), seconds(slices.Max(took)))
			}
		}
	}
	fmt.Fprintln(table)
	var v *violation
	switch {
	case errors.As(broken, &v):
		fmt.Fprintf(table, "broken after\t%s\n", took.Round(time.Second))
	case broken != nil:
		fmt.Fprintf(table, "ended after\t%s, before its time\n", took.Round(time.Second))
	default:
		fmt.Fprint(table, "lost\t0\nout of order\t0\n")
	}
	arrived, fair, again := books.arrived(), books.fair(), books.judged()
	for _, row := range []struct {
		what string
		is   string
	}{
		{"strikes", fmt.Sprintf("%d, topic and truth compared %d times at rest", len(s.strikes), s.rests)},
		{"changes", fmt.Sprintf("%d, of which %d reverts", changed.changes, changed.reverts)},
		{"shifts", fmt.Sprintf("%d born, %d moved away, %d unlisted, %d deleted, %d gone bad, %d back or mended", changed.born, changed.turned[away],
			changed.turned[unlisted], changed.turned[gone], changed.turned[unreadable]+changed.turned[large], changed.turned[listed])},
		{"records", fmt.Sprint(arrived.records)},
		{"repeated", fmt.Sprintf("%d of %d allowed", again.repeated, fair)},
		{"tombstones", fmt.Sprint(arrived.tombstones)},
		{"dead letters", fmt.Sprintf("%d, of which %d came again", arrived.buried, again.lettersAgain)},
		{"kills", fmt.Sprintf("%d, of which %d met a batch on its way", s.kills, s.inFlight)},
		{"takeovers", spread(s.takeovers)},
		{"stops", spread(s.stops)},
		{"passes", fmt.Sprintf("%d, of which %d in trouble", heard.passes, heard.troubled)},
		{"longest recovery", s.longest()},
		{"peak memory", fmt.Sprintf("%.1f MB", float64(heard.peak)/1024)},
	} {
		fmt.Fprintf(table, "%s\t%s\n", row.what, row.is)
	}
	_ = table.Flush() // to a terminal, or to nobody
}

// longest names the fault with the longest recovery.
func (s *score) longest() string {
	if len(s.strikes) == 0 {
		return "none"
	}
	k := slices.MaxFunc(s.strikes, func(a, b strike) int { return cmp.Compare(a.recovery, b.recovery) })
	return seconds(k.recovery) + ", after: " + k.name
}

func spread(took []time.Duration) string {
	if len(took) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d, in %s, at most %s", len(took), seconds(median(took)), seconds(slices.Max(took)))
}

func median(took []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(took))[len(took)/2]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// narrator tells what happens, with the time since it began.
type narrator struct {
	mu    sync.Mutex // guards w
	w     io.Writer
	began time.Time
}

func (n *narrator) say(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(n.w, "%8s  %s\n", time.Since(n.began).Round(100*time.Millisecond), fmt.Sprintf(format, args...))
}
