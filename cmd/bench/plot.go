//go:build linux

package main

import (
	"fmt"
	"math"
	"strings"
)

// Measures of the plot, in pixels.
const (
	plotLeft   = 150 // for the names
	plotWidth  = 520
	barHeight  = 14
	rowHeight  = 22
	plotTop    = 64
	plotBottom = 40
)

// plot draws, of each case, what was reached as a bar and the ceiling as a mark behind it, on a scale of powers of ten: a
// pass in which nothing changed is ten times as fast as one in which all is new.
func plot(results []result) string {
	least, most := 1e9, 1.0
	for i := range results {
		p := results[i].middle()
		least, most = min(least, p.speed(results[i].scenario)), max(most, results[i].ceiling())
	}
	from, to := math.Floor(math.Log10(least)*2)/2, math.Ceil(math.Log10(most)*2)/2
	x := func(v float64) float64 { return plotLeft + plotWidth*(math.Log10(v)-from)/(to-from) }

	var b strings.Builder
	height := plotTop + len(results)*rowHeight + plotBottom
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">`+"\n", plotLeft+plotWidth+150, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="12" y="24" font-size="15">Shifts a second: reached, and the ceiling of the machine</text>`+"\n")
	fmt.Fprintf(&b, `<text x="12" y="44" fill="#555">bar: median pass; line: cores / (CPU of the servers + of the worker's stages alone); share of it on the right, of what other processes left</text>`+"\n")
	bottom := plotTop + len(results)*rowHeight
	for e := math.Ceil(from); e <= to; e++ {
		at := x(math.Pow(10, e))
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n",
			at, plotTop-6, at, bottom, at, bottom+18, thousands(math.Pow(10, e)))
	}
	for i := range results {
		r := &results[i]
		p := r.middle()
		y := plotTop + i*rowHeight
		color := map[string]string{"all": "#c2571a", "none": "#2f6f9f", "1%": "#5b8c3a"}[r.changed]
		reached, ceiling := x(p.speed(r.scenario)), x(r.ceiling())
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s, %s, %s</text>`, plotLeft-8, y+11, thousands(float64(r.shifts)), r.changed, r.way)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, plotLeft, y, reached-plotLeft, barHeight, color)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#222" stroke-width="2"/>`, ceiling, y-2, ceiling, y+barHeight+2)
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s · %.0f %%</text>`+"\n", plotLeft+plotWidth+12, y+11, thousands(p.speed(r.scenario)), 100*r.share())
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// thousands writes a number as people read it.
func thousands(v float64) string {
	switch {
	case v >= 1e6:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v/1e6), ".0") + " M"
	case v >= 1e3:
		return fmt.Sprintf("%.0f k", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}
