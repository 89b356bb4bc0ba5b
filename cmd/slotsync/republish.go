package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/slotsync/slotsync/cache"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// selection names shifts: all that are remembered, some by their ids, or those that end from one instant until before
// another.
type selection struct {
	all      bool
	ids      []int64
	from, to time.Time
}

func (s selection) any() bool { return s.all || len(s.ids) > 0 || !s.to.IsZero() }

// parseSelection reads all, a comma list of ids, or two days or instants with two dots between them. A day ends at its
// end, so that 2026-11-01..2026-11-02 is two days, in UTC.
func parseSelection(text string, _ *kong.Tag) (selection, error) {
	text = strings.TrimSpace(text)
	if strings.EqualFold(text, "all") {
		return selection{all: true}, nil
	}
	if from, to, isSpan := strings.Cut(text, ".."); isSpan {
		begin, _, errFrom := parseInstant(from)
		end, isDay, errTo := parseInstant(to)
		if isDay {
			end = end.AddDate(0, 0, 1)
		}
		switch {
		case errFrom != nil || errTo != nil:
			return selection{}, fmt.Errorf("must be two days like 2026-11-01..2026-11-15, or two instants in RFC 3339, not %q", text)
		case !begin.Before(end):
			return selection{}, fmt.Errorf("must be a span that ends after it begins, not %q", text)
		}
		return selection{from: begin, to: end}, nil
	}
	var ids []int64
	for _, word := range strings.Split(text, ",") {
		id, err := strconv.ParseInt(strings.TrimSpace(word), 10, 64)
		if err != nil || id <= 0 {
			return selection{}, fmt.Errorf("must be all, a comma list of ids, or a span of days like 2026-11-01..2026-11-15, not %q", text)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return selection{ids: slices.Compact(ids)}, nil
}

func parseInstant(text string) (t time.Time, isDay bool, err error) {
	text = strings.TrimSpace(text)
	if t, err = time.Parse(time.DateOnly, text); err == nil {
		return t, true, nil
	}
	t, err = time.Parse(time.RFC3339, text)
	return t, false, err
}

// errNobodyToAsk is a wrong call: what it would forget is to be confirmed.
var errNobodyToAsk = &usageError{errors.New("--republish asks before it forgets, and there is no terminal to ask on: add --yes")}

// republish makes shifts wanted again. That they are forgotten is the only thing that it does: the publishing is for
// the worker that holds the lease.
func republish(ctx context.Context, cfg *config, log *slog.Logger, stdout io.Writer) (err error) {
	store, closeStore, err := openStore(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()

	now, err := shiftsync.WindowAround(time.Now(), cfg.Sync.DaysPrior, cfg.Sync.DaysAhead)
	if err != nil {
		return err
	}
	ids, over, err := choose(ctx, store, cfg.Republish, now.Start)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		_, err := fmt.Fprintln(stdout, "no shift that is remembered is among them: nothing to do")
		return err
	}
	fmt.Fprintf(stdout, "%s to publish again", counted(len(ids), "shift"))
	if over > 0 {
		fmt.Fprintf(stdout, ", at least %s outside the window, which are read one by one, %d a pass", grouped(over), shiftsync.WantedBatch)
	}
	fmt.Fprintln(stdout)
	if !cfg.Yes {
		sure, err := askOnTerminal(ctx, "forget them, so that they are published again?")
		if !sure {
			fmt.Fprintln(stdout, "nothing was forgotten")
			return err
		}
	}
	if _, err := store.Want(ctx, ids); err != nil {
		return fmt.Errorf("forget shifts: %w", err)
	}
	state, err := store.State(ctx)
	switch {
	case err != nil:
		log.Debug("redis", "err", err)
		fmt.Fprintln(stdout, "forgotten: they are wanted again by whoever holds the lease")
	case state.Holder == "":
		fmt.Fprintf(stdout, "forgotten; %s\nno worker holds the lease now\n", wantedAgain(state))
	default:
		fmt.Fprintf(stdout, "forgotten; %s\n%s holds the lease\n", wantedAgain(state), oneLine(state.Holder))
	}
	return nil
}

// openStore finds the destination and opens what is remembered of it.
func openStore(ctx context.Context, cfg *config, log *slog.Logger) (store *cache.Redis, closeStore func() error, err error) {
	kafka, err := newKafka(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	defer closeInto(&err, kafka, "close Kafka's connections")
	cluster, err := kafka.ClusterID(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("find the kafka cluster: %w", err)
	}
	redis, err := newRedis(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	return newStore(cfg, redis, cluster), redis.Close, nil
}

// choose returns the ids that are selected, and how many of them are known to have ended before the window begins; of
// those that begin behind it nothing is known, nor of those that are not remembered. Of ids that were named all are
// selected, of others those that are remembered.
func choose(ctx context.Context, store *cache.Redis, which selection, begin time.Time) (ids []int64, over int, err error) {
	err = store.Remembered(ctx, func(id int64, end time.Time) error {
		switch {
		case which.all:
		case which.ids != nil:
			if _, named := slices.BinarySearch(which.ids, id); !named {
				return nil
			}
		case end.Before(which.from) || !end.Before(which.to):
			return nil
		}
		ids = append(ids, id)
		if end.Before(begin) {
			over++
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("look up what is remembered: %w", err)
	}
	if which.ids != nil {
		return which.ids, over, nil
	}
	slices.Sort(ids)
	return slices.Compact(ids), over, nil
}

// askOnTerminal asks a question that is answered with y or n. The end of ctx ends the wait for the answer.
func askOnTerminal(ctx context.Context, question string) (bool, error) {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false, errNobodyToAsk
	}
	defer terminal.Close()
	return confirmed(ctx, terminal, question)
}

// dialogue is where questions are asked. A deadline in the past ends a read.
type dialogue interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
}

func confirmed(ctx context.Context, terminal dialogue, question string) (bool, error) {
	if _, err := fmt.Fprintf(terminal, "%s [y/N] ", question); err != nil {
		return false, fmt.Errorf("ask: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = terminal.SetReadDeadline(time.Unix(1, 0)) })()
	answer, err := bufio.NewReader(terminal).ReadString('\n')
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(terminal) // the line of the question is not ended by an answer
		return false, fmt.Errorf("ask: %w", context.Cause(ctx))
	case err != nil && !errors.Is(err, io.EOF):
		return false, fmt.Errorf("ask: %w", err)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}
