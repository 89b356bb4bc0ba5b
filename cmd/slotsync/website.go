package main

import (
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"time"
)

// website is what a worker serves over HTTP.
type website struct {
	health   *health
	desk     *desk
	about    about
	template *template.Template
}

// about is what does not change while a worker runs.
type about struct {
	Version string    `json:"version"`
	Worker  string    `json:"worker"`
	Topic   string    `json:"topic"`
	Name    string    `json:"sync_name,omitempty"`
	Started time.Time `json:"started"`
}

//go:embed page
var pageFiles embed.FS

// newWebsite returns all that is served, by path.
func newWebsite(cfg *config, watch *observer) http.Handler {
	s := &website{
		health:   watch.health,
		desk:     watch.desk,
		about:    about{moduleVersion(), workerName(), cfg.Kafka.Topic, cfg.Sync.Name, shownTime(time.Now())},
		template: pageTemplate(),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", s.alive)
	mux.HandleFunc("/readyz", s.ready)
	mux.HandleFunc("/api/health", s.overview)
	mux.HandleFunc("/api/passes", s.passes)
	mux.HandleFunc("/api/shifts/{id...}", s.shift)
	mux.HandleFunc("/{$}", s.page)
	for _, name := range []string{"page.css", "page.js", "icon.svg"} {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, pageFiles, "page/"+name) })
	}
	return mux
}

func (s *website) alive(w http.ResponseWriter, _ *http.Request) {
	c := s.health.condition()
	writeJSON(w, codeFor(c.Alive), c)
}

func (s *website) ready(w http.ResponseWriter, _ *http.Request) {
	c := s.health.condition()
	writeJSON(w, codeFor(c.Ready), c)
}

// overview is readiness with all that is known beside it.
func (s *website) overview(w http.ResponseWriter, _ *http.Request) {
	o := s.health.overview()
	writeJSON(w, codeFor(o.Ready), struct {
		about
		overview
	}{s.about, o})
}

func (s *website) passes(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Passes []endedPass `json:"passes"`
	}{s.health.passes()})
}

func (s *website) shift(w http.ResponseWriter, r *http.Request) {
	answer, no := s.desk.ask(r.Context(), r.PathValue("id"))
	if no == nil {
		writeJSON(w, http.StatusOK, answer)
		return
	}
	if no.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, no.status, no)
}

func codeFor(well bool) int {
	if well {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who asked may have gone
}
