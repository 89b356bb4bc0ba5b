// Package wiwtest is a When I Work API with made-up shifts, for tests, benchmarks and the demo. It answers as the
// real one has been seen to: by overlap, with the window echoed and cut at 90 days, in all shapes since 2012.
package wiwtest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Options say what a Server begins with.
type Options struct {
	Seed     uint64
	Shifts   int       // how many made-up shifts to begin with
	From, To time.Time // where they start; default 30 days from Epoch
	Token    string    // what W-Token must be; empty: anything but nothing
	Plain    bool      // never gzip
}

// Server is a fake API: an http.Handler, and an http.RoundTripper that needs no socket. It may be used from several
// goroutines.
type Server struct {
	plain bool

	mu      sync.Mutex // guards all below
	token   string
	r       *rand.Rand
	edits   int
	shifts  map[int64]entry
	deleted []int64
	fault   Fault
	times   int // of fault; below 0: always
	single  map[int64]Fault
	log     []Request
	logins  logins
}

type entry struct {
	truth      shiftsync.Shift
	readable   bool // truth is what a reader should make of json
	start, end time.Time
	shape      Shape
	json       []byte
}

// Request is what was asked, as it came.
type Request struct {
	Method string
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
	Token  bool // it came with a good one
}

// New returns a server that holds made-up shifts.
func New(o Options) *Server {
	if o.From.IsZero() {
		o.From = epoch
	}
	if o.To.IsZero() {
		o.To = o.From.AddDate(0, 0, 30)
	}
	s := &Server{
		plain:  o.Plain,
		token:  o.Token,
		r:      rand.New(rand.NewPCG(o.Seed, 1)),
		shifts: make(map[int64]entry, o.Shifts),
	}
	for i := range o.Shifts {
		s.Put(Made(o.Seed, i, o.From, o.To))
	}
	return s
}

// Put adds a shift, or replaces the one with its id, and writes it in the shape.
func (s *Server) Put(shift shiftsync.Shift, sh Shape) {
	shift = sh.Fit(shift)
	zone := zones[uint64(shift.ID)%uint64(len(zones))]
	e := entry{truth: shift, readable: true, start: shift.StartTime, end: shift.EndTime, shape: sh}
	e.json = sh.Append(nil, &shift, zone)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shifts[shift.ID] = e
}

// PutJSON adds what need not be a shift at all, to be listed where a shift from start to end would be. The id is only
// for Delete and Get. Truth does not know it.
func (s *Server) PutJSON(id int64, start, end time.Time, json string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shifts[id] = entry{start: start, end: end, json: []byte(json)}
}

// Delete removes a shift and says whether it was there.
func (s *Server) Delete(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.shifts[id]
	if ok {
		delete(s.shifts, id)
		s.deleted = append(s.deleted, id)
	}
	return ok
}

// Get returns the truth about one shift.
func (s *Server) Get(id int64) (shiftsync.Shift, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.shifts[id]
	return clone(e.truth), ok && e.readable
}

// Truth returns what a reader of the window should get, by id. Without includes, open and unpublished shifts are not
// in it; "open", "allopen" and "unpublished" add them.
func (s *Server) Truth(w shiftsync.Window, include ...string) map[int64]shiftsync.Shift {
	s.mu.Lock()
	defer s.mu.Unlock()
	truth := make(map[int64]shiftsync.Shift)
	for _, e := range s.visible(w, include) {
		if e.readable {
			truth[e.truth.ID] = clone(e.truth)
		}
	}
	return truth
}

func clone(s shiftsync.Shift) shiftsync.Shift {
	s.LinkedUserIDs, s.Breaks = slices.Clone(s.LinkedUserIDs), slices.Clone(s.Breaks)
	return s
}

// visible returns what overlaps the window and may be seen, by start. The mutex is held.
func (s *Server) visible(w shiftsync.Window, include []string) []entry {
	var list []entry
	for _, e := range s.shifts {
		switch {
		case !e.start.Before(w.End) || !e.end.After(w.Start):
		case e.readable && e.truth.IsOpen && !slices.Contains(include, "open") && !slices.Contains(include, "allopen"):
		case e.readable && !e.truth.Published && !slices.Contains(include, "unpublished"):
		default:
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(a.start.Compare(b.start), cmp.Compare(a.truth.ID, b.truth.ID), bytes.Compare(a.json, b.json))
	})
	return list
}

// Churn edits n shifts, picked at random, and returns their ids.
func (s *Server) Churn(n int) []int64 {
	s.mu.Lock()
	ids := slices.Sorted(maps.Keys(s.shifts))
	ids = slices.DeleteFunc(ids, func(id int64) bool { return !s.shifts[id].readable })
	s.r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	ids = ids[:min(n, len(ids))]
	type edit struct {
		shift shiftsync.Shift
		shape Shape
	}
	var edits []edit
	for _, id := range ids {
		s.edits++
		e := s.shifts[id]
		edits = append(edits, edit{change(e.truth, s.edits, e.shape), e.shape})
	}
	s.mu.Unlock()
	for _, e := range edits {
		s.Put(e.shift, e.shape)
	}
	return ids
}

// SetToken changes what W-Token must be.
func (s *Server) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// Fail makes the next n requests for a list meet the fault, or, with n below 0, all until Heal.
func (s *Server) Fail(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.times = f, n
}

// FailOne makes every request for that one shift meet the fault, whether the shift is there or not; nil ends it. The
// fault is given no answer that it could alter. Lists show the shift as before.
func (s *Server) FailOne(id int64, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.single == nil {
		s.single = map[int64]Fault{}
	}
	s.single[id] = f
}

// Unpublish takes a shift out of lists that do not include unpublished ones, and says whether it was there.
func (s *Server) Unpublish(id int64) bool {
	shift, ok := s.Get(id)
	if ok {
		s.mu.Lock()
		shape := s.shifts[id].shape
		s.mu.Unlock()
		shift.Published = false
		s.Put(shift, shape)
	}
	return ok
}

// Heal ends a fault of lists.
func (s *Server) Heal() { s.Fail(0, nil) }

// Requests returns what was asked since the last call of Forget.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Forget empties the log of requests.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// ServeHTTP answers GET /2/shifts and GET /2/shifts/{id}, and logins by POST /login and POST /2/login.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	given := r.Header.Get("W-Token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && given == "" {
		given = bearer
	}
	body := bodyOf(r)
	s.mu.Lock()
	good := s.good(given)
	s.log = append(s.log, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), Body: body, Token: good})
	s.mu.Unlock()

	switch {
	case r.Method == http.MethodPost && (path == "/login" || path == "/2/login"):
		s.logIn(w, r, body)
	case r.Method != http.MethodGet:
		fail(w, http.StatusMethodNotAllowed, "Method not allowed.", 405)
	case !good:
		fail(w, http.StatusUnauthorized, "User login required for this resource.", 1000)
	case path == "/2/shifts":
		s.list(w, r)
	case strings.HasPrefix(path, "/2/shifts/"):
		s.one(w, r, strings.TrimPrefix(path, "/2/shifts/"))
	default:
		fail(w, http.StatusNotFound, "Not found.", 404)
	}
}

func fail(w http.ResponseWriter, status int, text string, code int) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q,"code":%d}`, text, code)
}

func (s *Server) one(w http.ResponseWriter, r *http.Request, name string) {
	id, _ := strconv.ParseInt(name, 10, 64)
	s.mu.Lock()
	e, ok := s.shifts[id]
	fault := s.single[id]
	s.mu.Unlock()
	if fault != nil {
		fault(w, r, &Answer{})
		return
	}
	if !ok {
		fail(w, http.StatusNotFound, "No shift found", 4005)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	fmt.Fprintf(w, `{"shift":%s}`, e.json)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	window, err := windowOf(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error(), 400)
		return
	}
	a := &Answer{Start: window.Start, End: window.End, Gzip: !s.plain && acceptsGzip(r)}
	s.mu.Lock()
	for _, e := range s.visible(window, included(r.URL.Query())) {
		a.Shifts = append(a.Shifts, e.json)
	}
	if truth(r.URL.Query().Get("deleted")) {
		a.Deleted = append([]int64{}, s.deleted...)
	}
	fault := s.fault
	if s.times == 0 {
		fault = nil
	} else if s.times > 0 {
		s.times--
	}
	s.mu.Unlock()
	if n, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil && n < len(a.Shifts) {
		a.Shifts = a.Shifts[:n]
	}
	if fault != nil {
		fault(w, r, a)
		return
	}
	a.Write(w)
}

func acceptsGzip(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}

func truth(s string) bool { return s == "true" || s == "1" || s == "yes" || s == "on" }

func included(query url.Values) (names []string) {
	for _, name := range []string{"include_open", "include_allopen", "unpublished"} {
		if truth(query.Get(name)) {
			names = append(names, strings.TrimPrefix(name, "include_"))
		}
	}
	return names
}

// windowOf reads a window as the API does: at most 90 days of it, without a word.
func windowOf(query url.Values) (shiftsync.Window, error) {
	var w shiftsync.Window
	var err error
	if w.Start, err = time.Parse(time.RFC3339, query.Get("start")); err != nil {
		return w, fmt.Errorf("start cannot be read")
	}
	if w.End, err = time.Parse(time.RFC3339, query.Get("end")); err != nil {
		return w, fmt.Errorf("end cannot be read")
	}
	if !w.Start.Before(w.End) {
		return w, fmt.Errorf("end must be after start")
	}
	if most := w.Start.AddDate(0, 0, 90); w.End.After(most) {
		w.End = most
	}
	return w, nil
}

// Answer is a list of shifts that is about to be written.
type Answer struct {
	Start, End time.Time // the window that it claims to answer; zero: it does not say
	Shifts     [][]byte
	Deleted    []int64 // nil: not asked for
	EchoLast   bool    // the window stands behind the shifts
	Gzip       bool
}

// Write sends the answer.
func (a *Answer) Write(w http.ResponseWriter) { send(w, a.Gzip, a.JSON()) }

func send(w http.ResponseWriter, zip bool, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("W-Limit-Remaining", "99")
	if zip {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level exists
		_, _ = z.Write(body)                           // whoever hangs up does not want the rest
		_ = z.Close()
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// JSON returns the body of the answer.
func (a *Answer) JSON() []byte {
	var echo []string
	if !a.Start.IsZero() {
		echo = append(echo, fmt.Sprintf(`"start":%q`, a.Start.In(zones[1]).Format(time.RFC1123Z)))
	}
	if !a.End.IsZero() {
		echo = append(echo, fmt.Sprintf(`"end":%q`, a.End.In(zones[1]).Format(time.RFC1123Z)))
	}
	shifts := `"shifts":[` + string(bytes.Join(a.Shifts, []byte(","))) + `]`
	var members []string
	if !a.EchoLast {
		members = append(members, echo...)
	}
	members = append(members, shifts)
	if len(a.Shifts) > 0 {
		members = append(members, related)
	}
	if a.Deleted != nil {
		ids := make([]string, len(a.Deleted))
		for i, id := range a.Deleted {
			ids[i] = strconv.FormatInt(id, 10)
		}
		members = append(members, `"deleted_ids":[`+strings.Join(ids, ",")+`]`)
	}
	if a.EchoLast {
		members = append(members, echo...)
	}
	return []byte("{" + strings.Join(members, ",") + "}")
}

// related is what comes along with shifts: people who do not exist, in the odd types that real ones have. The names
// that matter at the top of the answer occur inside as well.
const related = `"users":[{"id":1000,"login_id":1,"first_name":"Ada","last_name":"Example","email":"ada@example.invalid",` +
	`"phone_number":"+10000000000","is_trusted":0,"position_rates":[],"sort":{"300":0},"error":"none","shifts":[{"id":1}]},` +
	`{"id":1001,"first_name":"Bo","last_name":"Example","email":"bo@example.invalid","position_rates":{"3":"9.50"},` +
	`"notified_at":"0000-00-00 00:00:00","dismissed_at":"","avatar":{"url":"https:\/\/example.invalid\/%s.png","size":"%s"}}],` +
	`"locations":[{"id":300,"name":"North","is_default":1,"coordinates":["0.0","0.0"],"place":""}],` +
	`"positions":[{"id":3,"name":"Till","color":"cc0000"}],"sites":[{"id":1,"name":"Yard","deleted_at":""}]`
