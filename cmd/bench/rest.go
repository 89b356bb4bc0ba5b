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
	"syscall"
	"time"
)

// restOptions are those of a worker that has nothing to do.
type restOptions struct {
	Shifts int           `help:"Shifts in the window." default:"1000"`
	For    time.Duration `help:"How long it is watched, after some seconds in which it settles." default:"1m"`
	Worker string        `help:"The worker to measure. Else it is built from this tree." placeholder:"PATH"`
}

// settling is how long a worker is left alone before it is watched: the first pass publishes everything.
const settling = 15 * time.Second

// measure runs the worker as it runs all day, nothing changing, and prints what a day of it takes.
func (o restOptions) measure(ctx context.Context, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "slotsync-bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.Worker, err = workerIn(ctx, dir, o.Worker, stderr); err != nil {
		return err
	}
	w, err := newWorld(ctx, measureOptions{}, dir, o.Shifts, "gzip", stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	cmd := exec.CommandContext(ctx, o.Worker)
	cmd.Env, cmd.Stderr = w.env, io.Discard
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	ended, watched := make(chan struct{}), make(chan int64)
	go func() { watched <- watchMemory(cmd.Process.Pid, ended) }()
	before, beforeCPU, err := o.look(ctx, w, cmd.Process.Pid, settling)
	var after pass
	var afterCPU time.Duration
	if err == nil {
		after, afterCPU, err = o.look(ctx, w, cmd.Process.Pid, o.For)
	}
	err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	close(ended)
	peak := <-watched
	if err != nil {
		return err
	}
	days := o.For.Hours() / 24
	api := since(after.api, before.api)
	fmt.Fprintf(stdout, "a day of %d shifts of which none changes, a pass every 10 s, as watched for %s:\n", o.Shifts, o.For)
	fmt.Fprintf(stdout, "worker  %.0f s of CPU, %.1f MB of memory at most\n", (afterCPU-beforeCPU).Seconds()/days, float64(peak)/(1<<20))
	fmt.Fprintf(stdout, "redis   %.0f s of CPU (of which it takes most to be there at all), %.0f commands, %.0f MB\n", (after.redis.CPU-before.redis.CPU).Seconds()/days,
		float64(after.redis.Commands-before.redis.Commands)/days, float64(after.redis.In+after.redis.Out-before.redis.In-before.redis.Out)/days/(1<<20))
	fmt.Fprintf(stdout, "api     %.0f requests, %.0f MB\n", float64(api.Requests)/days, float64(api.Bytes)/days/(1<<20))
	return nil
}

// look waits, and then asks the servers, and the kernel for the CPU time of the worker.
func (o restOptions) look(ctx context.Context, w *world, pid int, wait time.Duration) (p pass, cpu time.Duration, err error) {
	select {
	case <-ctx.Done():
		return p, 0, ctx.Err()
	case <-time.After(wait):
	}
	if p, err = w.figures(ctx); err != nil {
		return p, 0, err
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return p, 0, errors.Join(errors.New("the worker has ended"), err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			return p, 0, err
		}
		var ran int64 // ns; what follows are a wait and a count
		if _, err := fmt.Sscan(string(text), &ran); err != nil {
			return p, 0, fmt.Errorf("%s: %w", thread, err)
		}
		cpu += time.Duration(ran)
	}
	return p, cpu, nil
}
