package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Dashboards, monitors and alerts as they are imported.

// document reads a file of JSON.
func document(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// monitor is one of Datadog's, as far as it is looked at.
type monitor struct {
	Title, Description string
	Tags               []string
	Definition         struct {
		Name, Type, Query, Message string
		Options                    struct {
			Thresholds map[string]float64
			OnMissing  string `json:"on_missing_data"`
		}
	}
}

func monitors(t *testing.T) []monitor {
	t.Helper()
	files, err := filepath.Glob("dashboards/datadog/assets/monitors/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("got the monitors %v, %v", files, err)
	}
	all := make([]monitor, len(files))
	for i, file := range files {
		document(t, file, &all[i])
	}
	return all
}

// box is where something is drawn.
type box struct {
	title      string
	x, y, w, h int
}

// fit fails if boxes overlap or leave the grid.
func fit(t *testing.T, where string, columns int, boxes []box) {
	t.Helper()
	if len(boxes) == 0 {
		t.Errorf("%s is empty", where)
	}
	for i, a := range boxes {
		if a.x < 0 || a.y < 0 || a.w < 1 || a.h < 1 || a.x+a.w > columns {
			t.Errorf("%s: %q leaves the grid of %d columns: %+v", where, a.title, columns, a)
		}
		for _, b := range boxes[:i] {
			if a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h {
				t.Errorf("%s: %q lies on %q", where, a.title, b.title)
			}
		}
	}
}

// widget is one of Datadog's.
type widget struct {
	ID         int
	Layout     struct{ X, Y, Width, Height int }
	Definition struct {
		Title, Type, Check, Content string
		Widgets                     []widget
		Requests                    []struct {
			Queries     []struct{ Query string }
			Formulas    []struct{ Formula, Alias string }
			DisplayType string `json:"display_type"`
		}
	}
}

// queries are those of a widget and of all within it, by title. It looks at the grid, too.
func (w widget) queries(t *testing.T, ids map[int]bool, into map[string][]string) {
	t.Helper()
	d := w.Definition
	if ids[w.ID] || w.ID == 0 {
		t.Errorf("%q has the id %d of another one", d.Title, w.ID)
	}
	ids[w.ID] = true
	if d.Title == "" && d.Type != "note" {
		t.Errorf("widget %d has no title", w.ID)
	}
	var boxes []box
	for _, inner := range d.Widgets {
		l := inner.Layout
		boxes = append(boxes, box{inner.Definition.Title, l.X, l.Y, l.Width, l.Height})
		inner.queries(t, ids, into)
	}
	if d.Type == "group" {
		fit(t, d.Title, 12, boxes)
	}
	for _, request := range d.Requests {
		for _, q := range request.Queries {
			into[d.Title] = append(into[d.Title], q.Query)
		}
	}
}

// drawn are the queries of Datadog's dashboard, by the title of their widget.
func drawn(t *testing.T) map[string][]string {
	t.Helper()
	var dashboard struct {
		Title, Description, LayoutType string
		Template                       []struct{ Name, Prefix string } `json:"template_variables"`
		Widgets                        []widget
	}
	document(t, "dashboards/datadog/assets/dashboards/slotsync.json", &dashboard)
	queries := map[string][]string{}
	ids := map[int]bool{}
	var boxes []box
	for _, w := range dashboard.Widgets {
		boxes = append(boxes, box{w.Definition.Title, w.Layout.X, w.Layout.Y, w.Layout.Width, w.Layout.Height})
		w.queries(t, ids, queries)
	}
	fit(t, "the dashboard", 12, boxes)
	if dashboard.Title == "" || dashboard.Description == "" || len(dashboard.Template) == 0 || len(queries) < 20 {
		t.Errorf("the dashboard lacks a title, a description, variables or widgets: %d have queries", len(queries))
	}
	return queries
}

// point is what a query of Datadog asks for.
type point struct {
	metric string
	tags   map[string]string // that are asked for by value; "" for any
}

var queried = regexp.MustCompile(`[a-z0-9]+:slot_sync\.([a-z_.]+?)\{([^}]*)\}(?: by \{([^}]*)\})?`)

// points reads a query.
func points(t *testing.T, query string) []point {
	t.Helper()
	var all []point
	for _, found := range queried.FindAllStringSubmatch(query, -1) {
		p := point{found[1], map[string]string{}}
		for _, scope := range strings.Split(found[2], ",") {
			if name, value, is := strings.Cut(scope, ":"); is {
				p.tags[name] = value
			}
		}
		for _, name := range strings.Split(found[3], ",") {
			if name != "" {
				p.tags[name] = ""
			}
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Errorf("nothing is asked for by %s", query)
	}
	return all
}

// wanted are all points that dashboard and monitors ask for.
func wanted(t *testing.T) []point {
	t.Helper()
	var all []point
	for _, queries := range drawn(t) {
		for _, query := range queries {
			all = append(all, points(t, query)...)
		}
	}
	for _, m := range monitors(t) {
		all = append(all, points(t, m.Definition.Query)...)
	}
	return all
}

func TestWhatDatadogAsksForIsListed(t *testing.T) {
	listed := map[string]metric{}
	for _, m := range metricList() {
		listed[m.Name] = m
	}
	shown := map[string]bool{}
	for _, p := range wanted(t) {
		m, is := listed[p.metric]
		if !is {
			t.Errorf("%s is not listed", p.metric)
		}
		shown[p.metric] = true
		for name, value := range p.tags {
			i := slices.IndexFunc(m.Tags, func(t tag) bool { return t.Name == name })
			switch {
			case name == "env" || name == "service":
			case i < 0:
				t.Errorf("%s has no tag %s", p.metric, name)
			case value != "" && !slices.Contains(m.Tags[i].Values, value):
				t.Errorf("%s has no %s:%s", p.metric, name, value)
			}
		}
	}
	for name := range listed {
		if !shown[name] {
			t.Errorf("%s is measured and never shown", name)
		}
	}
}

// What a monitor asks, above or below which value it alarms and warns, and whether silence is an alarm: by hand and by
// title, since a test that takes the one from the other would follow any slip.
func TestMonitorsAlarmWhereTheyShould(t *testing.T) {
	type rule struct {
		query             string
		critical, warning float64 // warning 0: none
		silence           string  // on missing data
	}
	const quiet, loud = "default", "show_and_notify_no_data"
	want := map[string]rule{
		"slotsync: the topic is behind":                 {"min(last_5m):min:slot_sync.pass.age{*} by {env,service} > 900", 900, 300, quiet},
		"slotsync: the limit of pending shifts is near": {"max(last_10m):max:slot_sync.shifts.pending{*} by {env,service} / max:slot_sync.shifts.pending_limit{*} by {env,service} > 0.8", 0.8, 0.5, quiet},
		"slotsync: bad shifts pile up":                  {"sum(last_1h):sum:slot_sync.shifts.set_aside{*} by {env,service}.as_count() > 20", 20, 5, quiet},
		"slotsync: dead letters do not arrive":          {"min(last_30m):min:slot_sync.dead_letters.pending{*} by {env,service} > 0", 0, 0, quiet},
		"slotsync: many shifts are missing":             {"min(last_1h):max:slot_sync.shifts.missing{*} by {env,service} > 50", 50, 20, quiet},
		"slotsync: the session token ends":              {"min(last_15m):min:slot_sync.wiw.token.remaining{*} by {env,service} < 86400", 86400, 172800, quiet},
		"slotsync: nobody works":                        {"max(last_10m):max:slot_sync.worker.active{*} by {env,service} < 1", 1, 0, loud},
		"slotsync: workers displace each other":         {"sum(last_1h):sum:slot_sync.pass.trouble{reason:fenced} by {env,service}.as_count() > 2", 2, 0, quiet},
		"slotsync: When I Work refuses":                 {"sum(last_15m):sum:slot_sync.wiw.requests{status_class:4xx} by {env,service}.as_count() > 10", 10, 3, quiet},
		"slotsync: passes fail":                         {"min(last_5m):max:slot_sync.pass.failures{*} by {env,service} > 2", 2, 0, quiet},
	}
	for _, m := range monitors(t) {
		d := m.Definition
		got := rule{d.Query, d.Options.Thresholds["critical"], d.Options.Thresholds["warning"], d.Options.OnMissing}
		if rest := len(d.Options.Thresholds) - 1; got != want[m.Title] || rest > 1 || (rest == 1) != (got.warning != 0) {
			t.Errorf("%s: got %+v, want %+v", m.Title, got, want[m.Title])
		}
		delete(want, m.Title)
	}
	if len(want) > 0 {
		t.Errorf("there is no monitor for %v", want)
	}
}

func TestMonitorsAreWhole(t *testing.T) {
	for _, m := range monitors(t) {
		d := m.Definition
		if m.Title == "" || m.Title != d.Name || m.Description == "" || len(m.Description) > 300 || !slices.Contains(m.Tags, "integration:slotsync") {
			t.Errorf("%q lacks a title, a short description or its tag", m.Title)
		}
		if d.Type != "query alert" {
			t.Errorf("%q is a %s", m.Title, d.Type)
		}
		if !strings.Contains(d.Message, m.Title) || !strings.Contains(d.Message, "docs/operations.md") {
			t.Errorf("%q does not say where to read on:\n%s", m.Title, d.Message)
		}
		if loud := d.Options.OnMissing != "default"; loud != strings.Contains(d.Message, "{{#is_no_data}}") {
			t.Errorf("%q: what is said of silence, and whether it is an alarm, differ", m.Title)
		}
	}
}

// alert is one of Prometheus'.
type alert struct{ name, expr, summary string }

func alerts(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile("dashboards/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, found := range regexp.MustCompile(`(?s)- alert: (\w+)\n\s+expr: ([^\n]+)\n.*?summary: "([^"]+)"`).FindAllSubmatch(text, -1) {
		all = append(all, alert{string(found[1]), string(found[2]), string(found[3])})
	}
	if len(all) < 5 {
		t.Fatalf("got the alerts %v", all)
	}
	return all
}

func TestEveryMonitorIsAnAlertAndIsExplained(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained, watched, alerted []string
	for _, heading := range regexp.MustCompile(`(?m)^## (slotsync: .*)$`).FindAllSubmatch(text, -1) {
		explained = append(explained, string(heading[1]))
	}
	for _, m := range monitors(t) {
		watched = append(watched, m.Title)
		if m.Definition.Type == "service check" {
			continue
		}
		_, section, _ := strings.Cut(string(text), "\n## "+m.Title+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		for _, p := range points(t, m.Definition.Query) {
			if !strings.Contains(section, "`"+p.metric+"`") || !strings.Contains(section, "\n- ") {
				t.Errorf("docs/operations.md does not say of %q that it is about %s, or what to do", m.Title, p.metric)
			}
		}
	}
	for _, a := range alerts(t) {
		alerted = append(alerted, a.summary)
		if !strings.Contains(string(text), "`"+a.name+"`") {
			t.Errorf("docs/operations.md does not know %s", a.name)
		}
	}
	for _, c := range append(causes(), causeSilence) {
		if !strings.Contains(string(text), "\n| `"+string(c)+"` | ") {
			t.Errorf("docs/operations.md does not know the reason %s", c)
		}
	}
	slices.Sort(explained)
	slices.Sort(watched)
	slices.Sort(alerted)
	if !slices.Equal(explained, watched) || !slices.Equal(watched, alerted) {
		t.Errorf("explained %q\nmonitors  %q\nalerts    %q", explained, watched, alerted)
	}
}

// What promtool tries is complete: a case that fires and one that does not for each alert.
func TestEveryAlertIsTriedBothWays(t *testing.T) {
	text, err := os.ReadFile("dashboards/prometheus/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, part := range strings.Split(string(text), "  - name: \"")[1:] {
		name, _, _ := strings.Cut(part, ":")
		fires := strings.Count(part, "exp_labels:") > 0
		if fires == strings.Contains(part, "exp_alerts: []") || strings.Count(part, "alertname: "+strings.Fields(name)[0]) != strings.Count(part, "alertname: ") {
			t.Errorf("%s: the case is not of one alert that fires, or does not", name)
		}
		tried[name] = true
	}
	for _, a := range alerts(t) {
		for _, way := range []string{" fires", " is silent"} {
			if !tried[a.name+way] {
				t.Errorf("no case in which %s%s", a.name, way)
			}
		}
	}
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	if !prometheusIsThere(t) {
		t.Skip("there is no Prometheus: apt-get install prometheus")
	}
	output(t, exec.Command("promtool", "check", "rules", "dashboards/prometheus/alerts.yaml"))
	output(t, exec.Command("promtool", "test", "rules", "dashboards/prometheus/alerts_test.yaml"))
}

// panel is one of Grafana's.
type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Custom     struct{ DrawStyle string }
			Thresholds struct {
				Steps []struct{ Value *float64 }
			}
		}
	}
	Targets []struct{ Expr, LegendFormat string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct {
		Title  string
		Panels []panel
	}
	document(t, "dashboards/grafana/slotsync.json", &dashboard)
	return dashboard.Panels
}

func TestTheGrafanaDashboardIsWhole(t *testing.T) {
	listed := map[string]bool{}
	for _, m := range metricList() {
		name := promName(&m)
		listed[name] = true
		if m.Type == kindSpread {
			listed[name+"_sum"], listed[name+"_count"], listed[name+"_bucket"] = true, true, true
		}
	}
	shown := map[string]bool{}
	var boxes []box
	ids := map[int]bool{}
	for _, p := range panels(t) {
		boxes = append(boxes, box{p.Title, p.GridPos.X, p.GridPos.Y, p.GridPos.W, p.GridPos.H})
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d, %q, lacks a title or an id of its own", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%q has no query or no unit", p.Title)
		}
		last := -1.0
		for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
			if step.Value != nil && *step.Value <= last {
				t.Errorf("%q: the thresholds do not rise", p.Title)
			} else if step.Value != nil {
				last = *step.Value
			}
		}
		for _, target := range p.Targets {
			for _, name := range regexp.MustCompile(`slotsync_\w+`).FindAllString(target.Expr, -1) {
				if !listed[name] {
					t.Errorf("%q asks for %s, which is not listed", p.Title, name)
				}
				for _, part := range []string{"_sum", "_count", "_bucket"} {
					if short := strings.TrimSuffix(name, part); listed[short] {
						name = short
					}
				}
				shown[name] = true
			}
			if seconds := strings.Contains(target.Expr, "_seconds") && !strings.Contains(target.Expr, "_seconds_count{job=~\"$job\"}[$__rate_interval]))"); seconds && p.FieldConfig.Defaults.Unit != "s" {
				t.Errorf("%q shows seconds in the unit %s", p.Title, p.FieldConfig.Defaults.Unit)
			}
		}
	}
	fit(t, "the dashboard", 24, boxes)
	for _, m := range metricList() {
		if !shown[promName(&m)] {
			t.Errorf("%s is measured and never shown", promName(&m))
		}
	}
}

// metadata is Datadog's list of the metrics, made of ours.
func metadata() string {
	units := map[string]string{"seconds": "second", "requests": "request", "bytes": "byte", "connections": "connection", "errors": "error", "records": "record", "workers": "worker", "attempts": "attempt", "timeouts": "timeout"}
	var all strings.Builder
	all.WriteString("metric_name,metric_type,interval,unit_name,per_unit_name,description,orientation,integration,short_name,curated_metric,sample_tags\n")
	for _, m := range metricList() {
		var tags []string
		for _, t := range m.Tags {
			tags = append(tags, t.Name)
		}
		about := strings.ToUpper(m.Meaning[:1]) + strings.ReplaceAll(m.Meaning[1:], "`", "") + "."
		short := strings.NewReplacer(".", " ", "_", " ").Replace(m.Name)
		fmt.Fprintf(&all, "slot_sync.%s,%s,,%s,,%q,0,slotsync,%s,,%s\n", m.Name, m.Type, units[m.Unit], about, short, strings.Join(tags, "|"))
	}
	return all.String()
}

func TestDatadogsMetadataIsTheList(t *testing.T) {
	const file = "dashboards/datadog/metadata.csv"
	if os.Getenv("SLOTSYNC_WRITE_METADATA") != "" {
		if err := os.WriteFile(file, []byte(metadata()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != metadata() {
		t.Errorf("%s is not made of the list: SLOTSYNC_WRITE_METADATA=1 go test ./cmd/slotsync -run TestDatadogsMetadataIsTheList writes it", file)
	}
}

func TestTheManifestNamesWhatIsThere(t *testing.T) {
	var manifest struct {
		Assets struct {
			Integration struct {
				Metrics struct {
					Path string `json:"metadata_path"`
				}
				Checks struct {
					Path string `json:"metadata_path"`
				} `json:"service_checks"`
			}
			Dashboards, Monitors map[string]string
		}
	}
	document(t, "dashboards/datadog/manifest.json", &manifest)
	a := manifest.Assets
	named := []string{a.Integration.Metrics.Path, a.Integration.Checks.Path}
	for _, list := range []map[string]string{a.Dashboards, a.Monitors} {
		for _, path := range list {
			named = append(named, path)
		}
	}
	if got, want := len(a.Monitors), len(monitors(t)); got != want {
		t.Errorf("got %d monitors, want %d", got, want)
	}
	for _, path := range named {
		if _, err := os.Stat(filepath.Join("dashboards/datadog", path)); path == "" || err != nil {
			t.Errorf("%q is named and not there: %v", path, err)
		}
	}
	var checks []struct{ Check string }
	document(t, "dashboards/datadog/assets/service_checks.json", &checks)
	if len(checks) != 1 || checks[0].Check != "slot_sync."+canSync {
		t.Errorf("got the checks %v", checks)
	}
}
