//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is what was measured of a case.
type result struct {
	scenario
	passes [][]pass // of each worker
	stages stageTimes
}

// middle is the pass of median speed, of the first worker.
func (r *result) middle() pass {
	sorted := slices.Clone(r.passes[0])
	slices.SortFunc(sorted, func(a, b pass) int { return cmp.Compare(a.took, b.took) })
	return sorted[len(sorted)/2]
}

// ceiling is how many shifts a second the machine could do at most: with all of its processors at work, and nothing done
// but what the servers did in that pass and what the stages take alone.
func (r *result) ceiling() float64 {
	p := r.middle()
	return float64(runtime.NumCPU()) * float64(r.shifts) / (p.servers() + r.stages.sum()).Seconds()
}

// ratio is how much of the ceiling is reached.
func (r *result) ratio() float64 {
	p := r.middle()
	return p.speed(r.scenario) / r.ceiling()
}

// share is how much is reached of what the ceiling would be of the processor time that other processes of the machine
// left to us.
func (r *result) share() float64 {
	p := r.middle()
	return r.ratio() / max(0.01, 1-p.others)
}

// printMachine tells benchstat, and people, what is measured on.
func printMachine(w io.Writer) {
	model := "unknown"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, line, _ := strings.Cut(string(text), "model name")
		line, _, _ = strings.Cut(line, "\n")
		model = strings.Trim(line, "\t :")
	}
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: github.com/slotsync/slotsync/cmd/bench\ncpu: %s\n", runtime.GOOS, runtime.GOARCH, model)
}

// printTable prints each case with its ceiling, and what that is made of.
func printTable(w io.Writer, results []result) {
	n := runtime.NumCPU()
	fmt.Fprintf(w, "\nceiling = %d cores / (CPU of the servers in that pass + CPU of the worker's stages, each measured alone), a shift\nratio = reached / ceiling; of the rest: of the ceiling of what other processes of the machine left\nCPU in ns a shift:\n\n", n)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "shifts\tchanged\tway\tshifts/s\tceiling\tratio\tothers\tof the rest\tpeak MB\tworker\tapi\tredis\tbroker\tread\tlookup\tencode\tintend\tpublish\tremember\t")
	for i := range results {
		r := &results[i]
		p, t := r.middle(), r.stages
		ns := func(d time.Duration) int64 { return d.Nanoseconds() / int64(r.shifts) }
		var peak int64
		for _, p := range r.passes[0] {
			peak = max(peak, p.peak)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%.0f\t%.0f\t%.0f%%\t%.0f%%\t%.0f%%\t%.1f\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
			r.shifts, r.changed, r.way, p.speed(r.scenario), r.ceiling(), 100*r.ratio(), 100*p.others, 100*r.share(), float64(peak)/(1<<20),
			ns(p.worker), ns(p.api.CPU), ns(p.redis.CPU), ns(p.broker.CPU),
			ns(t.Read), ns(t.Lookup), ns(t.Encode), ns(t.Intend), ns(t.Publish), ns(t.Remember))
	}
	_ = table.Flush() // to a terminal or a file, which is not what is measured
}

// warnBelow warns of what stays below a share of its ceiling, in words that CI shows. Machines differ and are shared, so
// it is for people to judge.
func warnBelow(w io.Writer, results []result, share float64) {
	for i := range results {
		if r := &results[i]; r.share() < share {
			fmt.Fprintf(w, "::warning::%s reaches %.0f%% of its ceiling, less than %.0f%%\n", r.scenario, 100*r.share(), 100*share)
		}
	}
}

// printPairs compares two workers, pass by pass.
func printPairs(w io.Writer, results []result) error {
	fmt.Fprint(w, "\nthis / other, medians over pairs of passes:\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "shifts\tchanged\tway\tshifts/s\tworker ns\tredis ns\tbroker ns\tpeak MB\tbytes\t")
	for i := range results {
		r := &results[i]
		column := func(of func(p pass) float64) string {
			var this, other, ratio []float64
			for n := range r.passes[0] {
				a, b := of(r.passes[0][n]), of(r.passes[1][n])
				this, other, ratio = append(this, a), append(other, b), append(ratio, a/b)
			}
			return fmt.Sprintf("%.5g / %.5g = %.2f", median(this), median(other), median(ratio))
		}
		ns := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(r.shifts) }
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.shifts, r.changed, r.way,
			column(func(p pass) float64 { return p.speed(r.scenario) }),
			column(func(p pass) float64 { return ns(p.worker) }),
			column(func(p pass) float64 { return ns(p.redis.CPU) }),
			column(func(p pass) float64 { return ns(p.broker.CPU) }),
			column(func(p pass) float64 { return float64(p.peak) / (1 << 20) }),
			column(func(p pass) float64 { return float64(p.redis.In+p.redis.Out) / float64(r.shifts) }))
	}
	return table.Flush()
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
