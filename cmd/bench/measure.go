//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/slotsync/slotsync/cache/cachetest"
)

// farAway is what it takes longer to Redis and back when it is far away.
const farAway = 600 * time.Microsecond

// scenario is what is measured: so many shifts, of which so many are new or changed, and how they come.
type scenario struct {
	shifts  int
	changed string // all, none or 1%
	way     string // plain, gzip or far
}

// String is the name as benchmarks have it.
func (c scenario) String() string {
	return fmt.Sprintf("Pass/shifts=%d/changed=%s/way=%s", c.shifts, strings.TrimSuffix(c.changed, "%"), c.way)
}

// each tells that every so-many-th shift is changed before a pass; 0: none is.
func (c scenario) each() int {
	switch c.changed {
	case "all":
		return 1
	case "none":
		return 0
	}
	return 100
}

// published is how many records a pass writes.
func (c scenario) published() int {
	if c.each() == 0 {
		return 0
	}
	return (c.shifts + c.each() - 1) / c.each()
}

// measure measures all cases and prints a line for each pass, and what is to be said of them in the end.
func measure(ctx context.Context, o measureOptions, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "slotsync-bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.Worker, err = workerIn(ctx, dir, o.Worker, stderr); err != nil {
		return err
	}
	printMachine(stdout)
	var results []result
	for _, shifts := range o.Shifts {
		for _, way := range o.Way {
			some, err := measureWay(ctx, o, dir, shifts, way, stdout, stderr)
			if err != nil {
				return fmt.Errorf("%d shifts, %s: %w", shifts, way, err)
			}
			results = append(results, some...)
		}
	}
	if o.Against != "" {
		return printPairs(stdout, results)
	}
	printTable(stdout, results)
	warnBelow(stdout, results, o.Guard)
	if o.Plot == "" {
		return nil
	}
	return os.WriteFile(o.Plot, []byte(plot(results)), 0o644)
}

// workerIn returns the path of the worker to measure: the given one or, if that is empty, one of this tree, built into dir.
func workerIn(ctx context.Context, dir, given string, stderr io.Writer) (path string, err error) {
	if given != "" {
		return given, nil
	}
	path = filepath.Join(dir, "slotsync")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/slotsync/slotsync/cmd/slotsync")
	cmd.Stderr = stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build the worker: %w", err)
	}
	return path, nil
}

// measureWay measures the cases that can share servers.
func measureWay(ctx context.Context, o measureOptions, dir string, shifts int, way string, stdout, stderr io.Writer) (results []result, err error) {
	w, err := newWorld(ctx, o, dir, shifts, way, stderr)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	workers := []string{o.Worker}
	if o.Against != "" {
		workers = append(workers, o.Against)
	}
	count := o.Count
	if shifts >= 1_000_000 {
		count = 1 // it takes as long as all the others together, and varies least
	}
	known := false // all shifts as they are
	for _, changed := range o.Changed {
		c := scenario{shifts, changed, way}
		passes := make([][]pass, len(workers))
		if c.each() != 1 && !known {
			if _, err := w.measured(ctx, o.Worker, scenario{shifts, "all", way}); err != nil {
				return nil, err
			}
		}
		known = c.each() == 0 // the stages of the others leave something else behind
		for n := range count {
			for turn := range workers {
				i := (turn + n) % len(workers) // who goes first has it warmer, or colder
				p, err := w.measured(ctx, workers[i], c)
				if err != nil {
					return nil, err
				}
				passes[i] = append(passes[i], p)
				p.print(stdout, c, len(workers) > 1, i)
			}
		}
		r := result{scenario: c, passes: passes}
		if o.Against == "" {
			if r.stages, err = w.stages(ctx, c); err != nil {
				return nil, err
			}
		}
		results = append(results, r)
	}
	return results, nil
}

// world is what surrounds the worker in a case.
type world struct {
	api    *server
	broker *server // nil: real brokers
	redis  *cachetest.Server
	far    *far // nil: Redis is near
	env    []string
}

func newWorld(ctx context.Context, o measureOptions, dir string, shifts int, way string, stderr io.Writer) (w *world, err error) {
	w = &world{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if dir, err = os.MkdirTemp(dir, "world"); err != nil {
		return w, err
	}
	args := []string{"serve-api", "--shifts", strconv.Itoa(shifts), "--dir", dir}
	if way == "gzip" {
		args = append(args, "--gzip")
	}
	if w.api, err = startServer(ctx, stderr, args...); err != nil {
		return w, err
	}
	if w.broker, err = startServer(ctx, stderr, "serve-broker", "--dir", filepath.Join(dir, "topic")); err != nil {
		return w, err
	}
	if w.redis, err = cachetest.Start(dir, "--auto-aof-rewrite-percentage", "0"); err != nil { // that would be somebody else's work in some passes
		return w, err
	}
	address := w.redis.Addr
	if way == "far" {
		if w.far, err = newFar(address, farAway/2); err != nil {
			return w, err
		}
		address = w.far.Addr()
	}
	brokers := strings.Join(w.broker.Brokers, ",")
	if o.Kafka != "" {
		brokers = o.Kafka
	}
	w.env = []string{
		"WIW_URL=" + w.api.API, "WIW_KEY=made-up", "WIW_RATE=6000", "SYNC_DAYS_AHEAD=1",
		"KAFKA_BROKERS=" + brokers, "KAFKA_TOPIC_NAME=" + topic,
		"AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL=" + w.broker.Registry,
		"REDIS_HOST=redis://" + address, "LOG_FORMAT=json",
	}
	return w, nil
}

// Close ends all of it.
func (w *world) Close() error {
	var errs []error
	if w.api != nil {
		errs = append(errs, w.api.Close())
	}
	if w.broker != nil {
		errs = append(errs, w.broker.Close())
	}
	if w.far != nil {
		errs = append(errs, w.far.Close())
	}
	if w.redis != nil {
		w.redis.Close()
	}
	return errors.Join(errs...)
}

// forget empties Redis, which takes seconds if there are millions of shifts in it.
func (w *world) forget(ctx context.Context) error {
	client := redis.NewClient(&redis.Options{Addr: w.redis.Addr, ReadTimeout: 2 * time.Minute, DisableIdentity: true})
	defer client.Close()
	return client.FlushAll(ctx).Err()
}

// measured makes the world ready for a pass, and measures it.
func (w *world) measured(ctx context.Context, worker string, c scenario) (p pass, err error) {
	switch each := c.each(); each {
	case 0:
	case 1:
		err = w.forget(ctx)
	default:
		err = w.api.ask(ctx, "POST", "/change?each="+strconv.Itoa(each), nil)
	}
	if err != nil {
		return p, fmt.Errorf("make ready: %w", err)
	}
	if p, err = w.pass(ctx, worker, c); err == nil && p.published != c.published() {
		err = fmt.Errorf("%s: published %d, and %d were to be", c, p.published, c.published())
	}
	return p, err
}
