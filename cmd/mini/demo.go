package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

const (
	partitions = 3
	passEvery  = "2" // seconds, as a setting
)

// stage is a world, and what it takes to tell what happens in it.
type stage struct {
	world   *world.World
	reader  *reader
	planner *planner
}

func newStage() (*stage, error) {
	seed := uint64(time.Now().UnixNano())
	w, err := world.Start(world.Options{Shifts: madeShifts, Partitions: partitions, Seed: seed})
	if err != nil {
		return nil, err
	}
	r, err := newReader(w)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return &stage{w, r, newPlanner(w.API, seed)}, nil
}

func (st *stage) Close() error {
	st.reader.Close()
	return st.world.Close()
}

// demonstrate shows the worker at work until ctx ends, or one pass of it.
func demonstrate(ctx, patience context.Context, once bool, environ []string, s *screen, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "slotsync-mini-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s.line("", "slotsync keeps a Kafka topic in step with the shifts of When I Work.")
	s.line("", "Building it …")
	path, err := build(ctx, dir, stderr)
	switch {
	case ctx.Err() != nil:
		s.line("", "")
		s.line("", "Stopped before it began.")
		return nil
	case err != nil:
		return err
	}
	st, err := newStage()
	if err != nil {
		return err
	}
	story := newStory(s, st.reader)
	defer func() {
		err = errors.Join(err, st.Close())
		s.line("", "")
		s.line("", "In all "+story.sum()+". Worker and servers are gone.")
	}()

	token := tokenIn(environ)
	page := ""
	if !once {
		if page, err = freeAddr(ctx); err != nil {
			return fmt.Errorf("find a port for the page: %w", err)
		}
	}
	greet(s, st.world, token, page)
	var args []string
	var deeds <-chan string
	switch {
	case once:
		args = []string{"--once"}
	case token == "":
		var end func()
		deeds, end = st.planner.begin(ctx)
		defer end()
	}
	legend(s, deeds != nil, true)

	lines, ended := make(chan string), make(chan struct{})
	var result error
	go func() {
		defer close(ended)
		result = process(ctx, patience, path, args, append(settings(st.world, environ, token != ""), "HTTP_ADDR="+page), lines)
	}()
	story.tell(ctx, lines, deeds, ended)
	return result
}

// serve runs the servers, without a worker, until ctx ends.
func serve(ctx context.Context, stdout io.Writer, s *screen) (err error) {
	st, err := newStage()
	if err != nil {
		return err
	}
	story := newStory(s, st.reader)
	defer func() {
		err = errors.Join(err, st.Close())
		s.line("", "")
		s.line("", "In all "+story.sum()+". The servers are gone.")
	}()
	greet(s, st.world, "", "")
	s.line("", "Where a shell has read these settings, bin/slotsync works here. If several do, one works and the others stand by.")
	s.line("", "")
	if _, err := io.WriteString(stdout, exports(st.world)); err != nil {
		return fmt.Errorf("print the settings: %w", err)
	}
	deeds, end := st.planner.begin(ctx)
	defer end()
	s.line("", "")
	legend(s, true, false)
	story.tell(ctx, nil, deeds, ctx.Done())
	return nil
}

// exports returns the settings with which a worker finds itself in the world, as a shell reads them. None of the values
// has anything to quote.
func exports(w *world.World) string {
	env := w.Env()
	env["SYNC_SLEEP_PERIOD_SECONDS"] = passEvery
	env["SYNC_DELETES"] = "tombstone"
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&b, "export %s=%s\n", name, env[name])
	}
	return b.String()
}

// freeAddr returns an address on loopback where nobody listens.
func freeAddr(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// greet says what there is. token is the variable that asks for the real API, if one does; page is where the worker
// shows how it fares, if it does.
func greet(s *screen, w *world.World, token, page string) {
	api := fmt.Sprintf("%s  %d made-up shifts", w.APIURL, madeShifts)
	s.line("", "")
	if token != "" {
		api = "the REAL one, since " + token + " is set: your shifts are read and shown here"
		s.line("", token+" is set, so the worker reads the shifts of the REAL When I Work, with all WIW_* and SYNC_DAYS_* that are set. "+
			"It never writes there. All else runs on this machine alone and is gone when it ends (Ctrl-C):")
	} else {
		s.line("", "All of this runs on this machine alone and is gone when it ends (Ctrl-C):")
	}
	s.line("", "")
	s.line("  When I Work  ", api)
	s.line("  Redis        ", w.Redis.Addr())
	s.line("  Kafka        ", fmt.Sprintf("%s  topic %s, %d partitions", strings.Join(w.Kafka.Addrs, ","), world.Topic, partitions))
	s.line("  Registry     ", w.Registry.URL())
	if page != "" {
		s.line("  Page         ", "http://"+page+"  how the worker fares: open it in a browser")
	}
	s.line("", "")
}

// legend says how to read what follows.
func legend(s *screen, planned, working bool) {
	if planned {
		s.line("  office  ", fmt.Sprintf("edits a shift every %s, adds one or takes one away (which a worker looks for once a minute)", deedEvery))
	}
	if working {
		s.line("  worker  ", "what slotsync logs")
	}
	s.line("  topic   ", "what a consumer reads: + new, ~ changed, = again, - gone; 1/42 is partition 1, offset 42; times are local")
	s.line("", "")
}
