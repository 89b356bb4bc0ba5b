package main

import (
	"fmt"
	"html"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

// Pictures of the dashboards, for people to look at: neither Datadog nor Grafana runs here. Each widget is drawn with
// what a real Prometheus recorded of a real run, from statsd_exporter for Datadog's and from /metrics for Grafana's.

// plot is a widget of either dashboard.
type plot struct {
	title      string
	x, y, w, h int // a group or row spans the whole width
	heading    bool
	number     bool   // one value, the newest
	text       string // in place of data
	unit       string // s, percentunit, bytes, or none
	curves     []curve
}

// curve is a query of a plot.
type curve struct {
	query, label string // in the label, {{name}} is the value of a tag
	bars         bool
}

// drawnLine is a series in time.
type drawnLine struct {
	label  string
	bars   bool
	values []float64 // NaN: none
}

const (
	recordingTime = 100 * time.Second
	recordingStep = 4 * time.Second
)

var datadogQuery = regexp.MustCompile(`^(\w+):(slot_sync\.[a-z_.]+)\{[^}]*\}(?: by \{(\w+)\})?(\.as_count\(\))?$`)

// inPromQL says a query of Datadog in the words of Prometheus, about what statsd_exporter keeps.
func inPromQL(t *testing.T, query string) string {
	t.Helper()
	found := datadogQuery.FindStringSubmatch(query)
	if found == nil {
		t.Fatalf("%s cannot be drawn", query)
	}
	how, name, by, window := found[1], strings.ReplaceAll(found[2], ".", "_"), "", fmt.Sprintf("[%ds]", int(recordingStep.Seconds()))
	if found[3] != "" {
		by = " by (" + found[3] + ")"
	}
	i := slices.IndexFunc(metricList(), func(m metric) bool { return "slot_sync."+m.Name == found[2] })
	switch spread := metricList()[i].Type == kindSpread; {
	case spread && how == "count":
		return fmt.Sprintf("sum%s(%s_count - (%s_count offset %s or %s_count * 0))", by, name, name, strings.Trim(window, "[]"), name)
	case spread && how == "avg":
		return fmt.Sprintf("sum%s(rate(%s_sum%s)) / (sum%s(rate(%s_count%s)) > 0)", by, name, window, by, name, window)
	case spread:
		return fmt.Sprintf(`%s%s(%s{quantile="0.99"})`, how, by, name)
	case found[4] != "":
		return fmt.Sprintf("%s%s(%s - (%s offset %s or %s * 0))", how, by, name, name, strings.Trim(window, "[]"), name) // it is not there before the first
	}
	return fmt.Sprintf("%s%s(%s)", how, by, name)
}

// datadogPlots are the widgets of Datadog's dashboard, on a grid of 12 columns.
func datadogPlots(t *testing.T) (plots []plot) {
	t.Helper()
	var dashboard struct{ Widgets []widget }
	document(t, "dashboards/datadog/assets/dashboards/slotsync.json", &dashboard)
	top := 0
	for _, group := range dashboard.Widgets {
		l := group.Layout
		if group.Definition.Type == "note" {
			plots = append(plots, plot{x: l.X, y: top, w: l.Width, h: 1, text: group.Definition.Content})
			top++
			continue
		}
		plots = append(plots, plot{title: group.Definition.Title, y: top, w: 12, h: 1, heading: true})
		top++
		lowest := 0
		for _, w := range group.Definition.Widgets {
			d, l := w.Definition, w.Layout
			p := plot{title: d.Title, x: l.X, y: top + l.Y, w: l.Width, h: l.Height, number: d.Type == "query_value"}
			lowest = max(lowest, l.Y+l.Height)
			if d.Type == "check_status" || d.Type == "manage_status" {
				p.text = "drawn by Datadog: " + strings.ReplaceAll(d.Type, "_", " ")
			}
			for _, request := range d.Requests {
				var queries []string
				for _, q := range request.Queries {
					queries = append(queries, inPromQL(t, q.Query))
					if i := slices.IndexFunc(metricList(), func(m metric) bool { return strings.Contains(q.Query, "slot_sync."+m.Name+"{") }); metricList()[i].Unit == "seconds" && !strings.HasPrefix(q.Query, "count:") {
						p.unit = "s"
					}
				}
				for i, f := range request.Formulas {
					query, label := queries[min(i, len(queries)-1)], f.Alias
					if strings.Contains(f.Formula, "/") {
						query, p.unit = queries[0]+" / "+queries[1], "percentunit"
					}
					if by := regexp.MustCompile(`by \((\w+)\)`).FindStringSubmatch(query); by != nil {
						label = "{{" + by[1] + "}}"
					}
					p.curves = append(p.curves, curve{query, label, request.DisplayType == "bars"})
				}
			}
			plots = append(plots, p)
		}
		top += lowest
	}
	return plots
}

// grafanaPlots are the panels of Grafana's dashboard, on a grid of 24 columns.
func grafanaPlots(t *testing.T) (plots []plot) {
	t.Helper()
	for _, panel := range panels(t) {
		g := panel.GridPos
		d := panel.FieldConfig.Defaults
		p := plot{title: panel.Title, x: g.X, y: g.Y, w: g.W, h: g.H, heading: panel.Type == "row", number: panel.Type == "stat", unit: d.Unit}
		for _, target := range panel.Targets {
			query := strings.NewReplacer("$__rate_interval", fmt.Sprintf("%ds", int(recordingStep.Seconds())), "$job", "served").Replace(target.Expr)
			p.curves = append(p.curves, curve{query, target.LegendFormat, d.Custom.DrawStyle == "bars"})
		}
		plots = append(plots, p)
	}
	return plots
}

// lines are what a plot's queries gave in the time of the recording.
func (p prometheusServer) lines(t *testing.T, of plot, from, to time.Time) (all []drawnLine) {
	t.Helper()
	count := int(to.Sub(from)/recordingStep) + 1
	for _, c := range of.curves {
		for _, s := range p.over(t, c.query, from, to, recordingStep) {
			l := drawnLine{regexp.MustCompile(`\{\{(\w+)\}\}`).ReplaceAllStringFunc(c.label, func(name string) string { return s.Metric[strings.Trim(name, "{}")] }), c.bars, slices.Repeat([]float64{math.NaN()}, count)}
			for _, v := range s.Values {
				i := int(math.Round((v[0].(float64) - float64(from.Unix())) / recordingStep.Seconds()))
				if n, err := strconv.ParseFloat(fmt.Sprint(v[1]), 64); err == nil && i >= 0 && i < count {
					l.values[i] = n
				}
			}
			if slices.ContainsFunc(l.values, func(n float64) bool { return n > 0 }) || !strings.Contains(c.label, "{{") {
				all = append(all, l)
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].bars && !all[j].bars }) // lines lie upon bars
	return all
}

// said is a value with its unit, briefly.
func said(n float64, unit string) string {
	switch {
	case math.IsNaN(n):
		return "–"
	case unit == "percentunit":
		return fmt.Sprintf("%.3g %%", 100*n)
	case unit == "s" && n < 0.001:
		return "0 s"
	case unit == "s" && n >= 60:
		return roughly(time.Duration(n * float64(time.Second)))
	case unit == "s" && n < 1:
		return fmt.Sprintf("%.3g ms", 1000*n)
	case unit == "s":
		return fmt.Sprintf("%.3g s", n)
	case n >= 1e6:
		return fmt.Sprintf("%.3g M", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.3g k", n/1e3)
	}
	return fmt.Sprintf("%.4g", n)
}

// svg draws the lines: bars stand on each other.
func svg(p plot, lines []drawnLine, width, height int) string {
	const left, bottom = 56, 20
	top := 0.0
	if len(lines) == 0 {
		return `<p class="empty">no data</p>`
	}
	stacks := make([]float64, len(lines[0].values))
	for _, l := range lines {
		for i, n := range l.values {
			if l.bars && n > 0 {
				stacks[i] += n
				top = max(top, stacks[i])
			} else if n > 0 {
				top = max(top, n)
			}
		}
	}
	if top == 0 {
		top = 1
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d">`, width, height)
	for i := range 3 {
		y := 6 + (height-bottom-6)*i/2
		fmt.Fprintf(&b, `<path class="grid" d="M%d %dH%d"/><text x="%d" y="%d">%s</text>`, left, y, width, left-6, y+4, html.EscapeString(said(top*float64(2-i)/2, p.unit)))
	}
	x := func(i int) float64 {
		return left + (float64(i)+0.5)*float64(width-left)/float64(len(stacks))
	}
	y := func(n float64) float64 { return 6 + float64(height-bottom-6)*(1-n/top) }
	clear(stacks)
	for k, l := range lines {
		var path strings.Builder
		pen := "M"
		for i, n := range l.values {
			switch {
			case math.IsNaN(n):
				pen = "M"
			case l.bars && n > 0:
				w := float64(width-left) / float64(len(stacks)) * 0.7
				fmt.Fprintf(&b, `<rect class="c%d" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, k%8, x(i)-w/2, y(stacks[i]+n), w, y(stacks[i])-y(stacks[i]+n))
				stacks[i] += n
			case !l.bars:
				fmt.Fprintf(&path, "%s%.1f %.1f", pen, x(i), y(n))
				pen = "L"
			}
		}
		fmt.Fprintf(&b, `<path class="line s%d" d="%s"/>`, k%8, path.String())
	}
	for i := 0; i < len(stacks)-2; i += 5 {
		fmt.Fprintf(&b, `<text class="time" x="%.1f" y="%d">%s</text>`, x(i), height-4, time.Duration(i)*recordingStep)
	}
	b.WriteString("</svg><ul>")
	for k, l := range lines {
		fmt.Fprintf(&b, `<li><i class="c%d"></i>%s</li>`, k%8, html.EscapeString(l.label))
	}
	return b.String() + "</ul>"
}

// sheet draws a dashboard. It fails for a widget without data.
func sheet(t *testing.T, p prometheusServer, plots []plot, columns int, from, to time.Time) string {
	t.Helper()
	unit := map[int]int{12: 92, 24: 34}[columns]
	var b strings.Builder
	fmt.Fprintf(&b, `<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>dashboard</title><link rel="stylesheet" href="/sheet.css"><main class="of%d">`, columns)
	for _, plot := range plots {
		fmt.Fprintf(&b, `<section class="%s" style="grid-area:%d/%d/span %d/span %d">`, map[bool]string{true: "heading"}[plot.heading], plot.y+1, plot.x+1, plot.h, plot.w)
		if plot.title != "" {
			fmt.Fprintf(&b, "<h2>%s</h2>", html.EscapeString(plot.title))
		}
		if plot.text != "" {
			fmt.Fprintf(&b, "<p>%s</p>", html.EscapeString(plot.text))
		}
		lines := p.lines(t, plot, from, to)
		switch {
		case len(plot.curves) == 0:
		case len(lines) == 0 && plot.title == "Forgotten": // which takes a week
			b.WriteString(`<p>nothing yet</p>`)
		case len(lines) == 0:
			t.Errorf("%q has no data", plot.title)
		case plot.number:
			last := lines[0].values[len(lines[0].values)-1]
			fmt.Fprintf(&b, `<p class="number">%s</p>`, html.EscapeString(said(last, plot.unit)))
		default:
			b.WriteString(svg(plot, lines, plot.w*1320/columns-30, plot.h*unit-70))
		}
		b.WriteString("</section>")
	}
	return b.String() + "</main>"
}

const sheetStyle = `:root{--bg:#f3f4f5;--box:#fff;--text:#1c1f23;--quiet:#5c6269;--line:#e2e4e7}
@media (prefers-color-scheme:dark){:root{--bg:#111316;--box:#1b1e22;--text:#e8e9eb;--quiet:#a0a6ad;--line:#2d3136}}
body{margin:12px;background:var(--bg);color:var(--text);font:13px/1.35 system-ui,sans-serif}
main{display:grid;gap:8px}.of12{grid-template-columns:repeat(12,1fr);grid-auto-rows:minmax(84px,auto)}.of24{grid-template-columns:repeat(24,1fr);grid-auto-rows:minmax(26px,auto)}
section{background:var(--box);border:1px solid var(--line);border-radius:4px;padding:8px 10px;min-width:0;overflow:hidden}
.heading{background:none;border:0;align-self:end}.heading h2{font-size:16px}h2{font-size:13px;margin:0 0 4px}p{margin:0;color:var(--quiet)}
.number{font-size:30px;color:var(--text)}svg{width:100%;display:block}text{font-size:11px;fill:var(--quiet);text-anchor:end}.time{text-anchor:middle}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:2}ul{margin:2px 0 0;padding:0;display:flex;flex-wrap:wrap;gap:0 12px;list-style:none;color:var(--quiet)}
li i{display:inline-block;width:9px;height:9px;margin-right:5px}
.c0{fill:#3b7dd8;background:#3b7dd8}.s0{stroke:#3b7dd8}.c1{fill:#e08a2e;background:#e08a2e}.s1{stroke:#e08a2e}.c2{fill:#3d9b62;background:#3d9b62}.s2{stroke:#3d9b62}
.c3{fill:#cc4b42;background:#cc4b42}.s3{stroke:#cc4b42}.c4{fill:#8a63c9;background:#8a63c9}.s4{stroke:#8a63c9}.c5{fill:#2aa3a3;background:#2aa3a3}.s5{stroke:#2aa3a3}
.c6{fill:#c25a96;background:#c25a96}.s6{stroke:#c25a96}.c7{fill:#8b8f45;background:#8b8f45}.s7{stroke:#8b8f45}`

func TestPicturesOfTheDashboards(t *testing.T) {
	if os.Getenv("SLOTSYNC_PICTURES") == "" {
		t.Skip("SLOTSYNC_PICTURES names no folder for pictures; other tests hold that each query has data")
	}
	if !prometheusIsThere(t) {
		t.Fatal("there is no Prometheus: apt-get install prometheus")
	}
	server := serveDogStatsD(t)
	w := start(t, world.Options{Shifts: 1200, Partitions: 3})
	away := kafkaGoesAway(w)
	if err := publishtest.CreateTopic(t.Context(), w.Kafka.Addrs, "letters", 1, nil); err != nil {
		t.Fatal(err)
	}
	token := tokenUntil(time.Now().Add(100 * time.Hour))
	w.API.SetToken(token)
	worker, page := loopHTTP(t, in(w, env{
		"WIW_KEY": token, "WIW_RATE": "6000", "SYNC_SLEEP_PERIOD_SECONDS": "1", "DLQ_TOPIC": "letters", "GONE_SHARE": "1",
		"STATSD_HOST": server.addr.IP.String(), "STATSD_PORT": strconv.Itoa(server.addr.Port),
	}))
	p := askPrometheus(t, map[string]string{"sent": server.page, "served": page})
	worker.until(t, good, 1)
	var b *browser
	from := time.Now().Truncate(time.Second)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for second := 0; time.Since(from) < recordingTime; second++ {
		<-tick.C
		now := time.Now()
		switch second {
		case 4: // somebody looks at the page all the time
			b = browse(t, "http://"+page)
		case 12: // bad shifts, and a date in an unknown form
			for id := range int64(6) {
				w.API.PutJSON(id+1, now, now.Add(time.Hour), fmt.Sprintf(`{"id":%d,"end_time":"soon"}`, id+1))
			}
			w.API.PutJSON(7, now, now.Add(time.Hour), fmt.Sprintf(`{"id":7,"start_time":%d,"end_time":%d,"created_at":"in spring"}`, now.Unix(), now.Unix()))
		case 24: // the API fails
			w.API.Fail(4, wiwtest.Status(http.StatusBadGateway, `{}`))
		case 36: // an outage
			away.Store(true)
		case 58:
			b.shot(t, "page", 1100, 760)
			b.shot(t, "page-phone", 360, 780)
			away.Store(false)
		case 70: // one is deleted
			for id := range truth(w) {
				w.API.Delete(id)
				break
			}
			due(w)
		case 80: // an old version comes back
			for id := range truth(w) {
				older, _ := w.API.Get(id)
				older.Notes, older.UpdatedAt = "as it was once", older.UpdatedAt.AddDate(0, 0, -1)
				w.API.Put(older, wiwtest.Shape2025)
				break
			}
		}
		changed := 1 + second*second%13
		for id := range truth(w) {
			shift, _ := w.API.Get(id)
			shift.Notes, shift.UpdatedAt = fmt.Sprint("changed at ", second), now.UTC()
			w.API.Put(shift, wiwtest.Shape2025)
			if changed--; changed == 0 {
				break
			}
		}
	}
	to := from.Add(recordingTime)
	var sheets = map[string]string{
		"/datadog": sheet(t, p, datadogPlots(t), 12, from, to),
		"/grafana": sheet(t, p, grafanaPlots(t), 24, from, to),
	}
	worker.halt(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sheet.css" {
			w.Header().Set("Content-Type", "text/css")
			fmt.Fprint(w, sheetStyle)
			return
		}
		fmt.Fprint(w, sheets[r.URL.Path])
	}))
	t.Cleanup(site.Close)
	b.open(t, site.URL+"/datadog")
	b.picture(t, "datadog", 1280)
	b.open(t, site.URL+"/grafana")
	b.picture(t, "grafana", 1280)
}
