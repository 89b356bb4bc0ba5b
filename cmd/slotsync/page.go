package main

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"strings"
	"time"
)

// pageTemplate parses the page. Like regexp.MustCompile it panics over what cannot be wrong in a program that was tested.
func pageTemplate() *template.Template {
	return template.Must(template.New("index.html").Funcs(template.FuncMap{
		"num":  grouped,
		"age":  func(now, at time.Time) string { return roughly(now.Sub(at)) },
		"iso":  func(at time.Time) string { return at.Format("2006-01-02T15:04:05.000Z") },
		"when": when,
		"day":  day,
	}).ParseFS(pageFiles, "page/index.html"))
}

func day(at time.Time) string { return at.Format("2006-01-02 15:04:05") + " UTC" }

// when leaves out the day if it is today.
func when(at time.Time) string {
	if now := time.Now().UTC(); at.YearDay() == now.YearDay() && at.Year() == now.Year() {
		return at.Format("15:04:05") + " UTC"
	}
	return day(at)
}

// view is what the page shows of one moment.
type view struct {
	about
	overview
	Headline headline
	Strip    strip
	Passes   []passLine // the newest first
	Listed   int        // how many of them there may be
	Asked    string     // the id of a shift that somebody looks up; empty: none
	Answer   *shiftAnswer
	No       *refusal
}

// headline is how things stand, in a line, and why.
type headline struct {
	Kind  string // ok, warn, bad, standby or starting: its colour and shape
	Title string // goes on with the time Since, if there is one
	Since time.Time
	Why   string // in a sentence, which stays the same while the trouble does
	Wait  string // what waits meanwhile; empty: nothing, or it is not known
	Error string // in the words of the log; empty: there is none
	Do    string // what somebody who is on call may do or need not
	Check bool   // slotsync check may tell more
}

func headlineOf(o *overview, topic string) headline {
	h := headline{Kind: "bad", Title: "Not in step", Since: o.behind, Why: o.Cause.words(), Error: o.Reason, Do: o.Cause.advice()}
	switch o.Cause {
	case causeAPI, causeRedis, causeKafka, causeRegistry, causeNoTopic:
		h.Check = true
	}
	if h.Since.IsZero() {
		h.Since = o.Since
	}
	if o.Cause == causeKafka && !o.collects {
		h.Do = "Nothing more is collected meanwhile. The first pass after Kafka is back catches up with what is in the window then."
	}
	switch {
	case o.State == stateStandby && o.Ready:
		return headline{Kind: "standby", Title: "Standing by", Since: o.Since,
			Why: o.Holder + " holds the lease.",
			Do:  "This worker takes over at once when that one stops, and within 20\u00a0s when it is killed."}
	case o.State == stateStandby:
		h.Title, h.Since = "Cannot stand by", o.Since
		for _, d := range o.Dependencies {
			if d.Cause == o.Cause && !d.Since.IsZero() {
				h.Since = d.Since
			}
		}
	case !o.Ready && o.Cause == "": // no pass has ended yet, and nothing is wrong
		return headline{Kind: "starting", Title: "Starting", Since: o.Since, Why: "The first pass has not ended yet."}
	case o.InStep && o.Ready:
		return headline{Kind: "ok", Title: "In step", Since: o.InStepSince, Why: "The topic " + topic + " has all that the last pass saw."}
	case o.InStep:
		h.Kind, h.Title, h.Since = "warn", "In step", o.InStepSince
		h.Why = "But the next change has to wait: " + h.Why
	case o.Ready:
		left := o.LastPass.Cause
		h.Kind, h.Why, h.Do, h.Error = "warn", left.words(), left.advice(), o.LastPass.Reason
	case (o.Cause == causeKafka || o.Cause == causeNoTopic) && o.LastPass != nil && o.LastPass.Pending > 0:
		h.Wait = "Changes of " + grouped(o.LastPass.Pending) + " shifts wait in Redis."
	}
	return h
}

// words says what is wrong.
func (c cause) words() string {
	switch c {
	case causeAPI:
		return "When I Work gives no answer that can be used."
	case causeRedis:
		return "Redis does not answer, or refuses to work."
	case causeKafka:
		return "Kafka is away, or does not take records."
	case causeRegistry:
		return "The schema registry gives no schema to write with."
	case causeLetters:
		return "Dead letters wait in Redis until DLQ_TOPIC takes them. The good ones are in the topic."
	case causeNoTopic:
		return "Kafka has no topic of that name."
	case causeCluster:
		return "The brokers are those of another Kafka cluster than before."
	case causeLeftOver:
		return "The last pass left something to the next one."
	case causeLease:
		return "The lease was lost in the middle of a pass."
	case causeFenced:
		return "Another worker displaced this one at the broker."
	case causeLayout:
		return "The topic or the account is not the one that was written before."
	case causeLimit:
		return "As many shifts are pending as PENDING_LIMIT allows."
	case causeBad:
		return "Too many shifts of the answer are bad."
	case causeSilence:
		return "The worker hangs."
	}
	return "A pass failed."
}

// advice is what to do about trouble, for somebody who was woken up by it.
func (c cause) advice() string {
	switch c {
	case causeAPI:
		return "What was published stands, and the next pass tries again. If the token is refused, give the worker a new one."
	case causeRedis:
		return "Nothing is published without Redis. The first pass after it is back catches up."
	case causeKafka:
		return "Passes go on: the newest version of each shift that changes is kept in Redis, and goes out when Kafka is back."
	case causeRegistry:
		return "The first pass after the registry is back catches up."
	case causeLetters:
		return "Does the topic of dead letters exist, and may the worker write there? The next pass tries again."
	case causeNoTopic:
		return "Create it, or mend KAFKA_TOPIC_NAME. If it was deleted by mistake, all shifts of the window are published again once it is back."
	case causeCluster:
		return "The worker ends and, started anew, begins with an empty memory: each cluster has one of its own. Mend KAFKA_BROKERS if that is not wanted."
	case causeLeftOver:
		return "Nothing needs to be done unless it lasts."
	case causeLease:
		return "Redis did not answer in time, or was emptied. The worker takes the lease again by itself, unless another one has it."
	case causeFenced:
		return "It has the same transactional id and another Redis. Stop one of the two, or let them share one Redis."
	case causeLayout:
		return "Nothing is written until somebody decides: change it back, or start once with --accept-layout."
	case causeLimit:
		return "Nothing new is collected until Kafka takes records. If Redis has room, raise PENDING_LIMIT, and start anew once the brokers answer."
	case causeBad:
		return "The good ones were published. Look below at those that were set aside; BAD_SHARE says how many may be bad."
	case causeSilence:
		return "Something neither answers nor fails. The last lines of the log tell what; a restart loses nothing."
	}
	return ""
}

// passLine is a pass in words.
type passLine struct {
	endedPass
	Words   string // how it ended
	Figures string
}

func lineOf(p endedPass) passLine {
	words := map[string]string{resultOK: "in step", resultPending: "not in step", resultFailed: "failed"}[p.Result]
	if p.ID == "" {
		return passLine{p, words, "no pass had begun"}
	}
	var told []string
	for i, f := range p.figures() {
		if i < usualFigures || f.n > 0 {
			told = append(told, f.String())
		}
	}
	told = append(told, briefly(time.Duration(p.TookMS)*time.Millisecond))
	for i := range told {
		told[i] = strings.ReplaceAll(told[i], " ", "\u00a0") // a line breaks between two figures, and in none
	}
	return passLine{p, words, strings.Join(told, " · ")}
}

// Measures of the strip of passes, in pixels.
const (
	stripBars   = 80
	stripPitch  = 12
	stripBase   = 72 // where the bars of the passes stand
	stripHigh   = 52 // the longest pass
	stripLow    = 4  // the shortest
	stripFloor  = 112
	stripPeak   = 24 // the pass that published most
	listedLines = 20
)

// strip is the last passes as bars: how long each took and, below, how much it published.
type strip struct {
	Bars    []bar // the oldest first
	Longest string
	Most    int // published by one pass
	Total   int // published by all of them
}

// bar is one pass in the strip.
type bar struct {
	passLine
	X, Y, Height    int
	PubY, PubHeight int
}

// Left is where the bar can be pointed at.
func (b bar) Left() int { return b.X - 2 }

// MarkY is where the mark stands above a bar.
func (b bar) MarkY() int { return b.Y - 8 }

// Inner is the height of a bar that is only an outline.
func (b bar) Inner() string { return fmt.Sprintf("%.1f", float64(b.Height)-1.5) }

// stripOf draws the newest passes, which come first.
func stripOf(passes []endedPass) strip {
	passes = passes[:min(len(passes), stripBars)]
	var s strip
	var longest int64
	for _, p := range passes {
		longest = max(longest, p.TookMS)
		s.Most = max(s.Most, p.Published)
		s.Total += p.Published
	}
	s.Longest = briefly(time.Duration(longest) * time.Millisecond)
	for i := len(passes) - 1; i >= 0; i-- {
		p := passes[i]
		// The root lets one see a pass of a second beside one of a minute.
		height := stripLow + int(math.Round((stripHigh-stripLow)*math.Sqrt(share(p.TookMS, longest))))
		sent := 0
		if p.Published > 0 {
			sent = 2 + int(math.Round((stripPeak-2)*math.Sqrt(share(int64(p.Published), int64(s.Most)))))
		}
		s.Bars = append(s.Bars, bar{lineOf(p), stripPitch*(stripBars-1-i) + 2, stripBase - height, height, stripFloor - sent, sent})
	}
	return s
}

func share(n, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// page serves the page with all that is known in it, so that it needs no script. The script asks for it again and puts
// the parts that changed in the place of the old.
func (s *website) page(w http.ResponseWriter, r *http.Request) {
	v := view{about: s.about, Listed: listedLines, overview: s.health.overview(), Asked: strings.TrimSpace(r.URL.Query().Get("shift"))}
	v.Headline = headlineOf(&v.overview, s.about.Topic)
	passes := s.health.passes()
	v.Strip = stripOf(passes)
	for _, p := range passes[:min(len(passes), listedLines)] {
		v.Passes = append(v.Passes, lineOf(p))
	}
	if v.Asked != "" {
		v.Answer, v.No = s.desk.ask(r.Context(), v.Asked)
	}
	var text bytes.Buffer
	if err := s.template.Execute(&text, v); err != nil {
		http.Error(w, "the page cannot be drawn; /api/health tells the same", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = text.WriteTo(w) // who asked may have gone
}

// roughly is a time span as a person says it, in two units at most.
func roughly(d time.Duration) string {
	s := max(0, int(d/time.Second))
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%d d %d h", s/86400, s/3600%24)
	}
}

// briefly is how long a pass took.
func briefly(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return roughly(d)
	}
}
