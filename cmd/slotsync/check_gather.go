package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/slotsync/slotsync/cache"
	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
)

const (
	askFor     = 15 * time.Second // one dependency
	walkFor    = 3 * time.Second  // through all keys of a Redis
	maxSamples = 200              // shifts whose size is measured
)

// facts are what the dependencies said.
type facts struct {
	cfg      *config
	api      apiFacts
	redis    redisFacts
	kafka    kafkaFacts
	registry registryFacts
	statsd   statsdFacts
	made     []finding // of topics that were to be created
}

type apiFacts struct {
	err        error
	login      error     // why there is no session token
	tokenEnds  time.Time // zero: it does not tell
	window     shiftsync.Window
	took       time.Duration // until the last answer began
	class      string        // of the last answer's status; empty: there was none
	answers    int           // with the status of a success
	silent     bool          // it does not say which window it answered
	dated      bool          // it says what time it is
	skew       time.Duration // how far its clock is ahead of ours
	shifts     int
	unreadable int
	account    int64 // that most shifts are of
	// For --migrate:
	ids     map[int64]struct{}
	samples []shiftsync.Shift
}

type redisFacts struct {
	err       error // it was not reached
	warning   string
	sentinels []cache.SentinelState // as many as there are in the settings
	server    *cache.ServerState
	refused   []string // commands
	told      bool     // whether commands are refused
	scripts   error    // they do not run
	old       int      // keys of slot_sync
	oldAll    bool
	oldErr    error
	state     *cache.DestinationState // nil: the cluster is not known
	stateErr  error
	stranded  map[string]int64
	remembers int // of the window's shifts; for --migrate
}

type kafkaFacts struct {
	err         error // it cannot even be asked
	cluster     *publish.Description
	settings    publish.TopicSettings
	settingsErr error
	memory      time.Duration
	memoryErr   error
	fence       publish.Right
	fenceErr    error
	ends        map[int]int64
	endsErr     error
	partitionOf func(key []byte, partitions []int) int
	letters     letterFacts
}

// letterFacts are about the topic of dead letters.
type letterFacts struct {
	err         error                // it cannot even be asked
	cluster     *publish.Description // nil: it is off, or Kafka was not reached
	settings    publish.TopicSettings
	settingsErr error
}

type registryFacts struct {
	err   error
	found *publish.Inspection
}

// gather asks all dependencies at the same time, and then Redis about the destination, whose name has the id of the
// Kafka cluster in it. It waits for each of the two no longer than patience.
func gather(ctx context.Context, cfg *config, patience time.Duration) *facts {
	w := &facts{cfg: cfg}
	var asking sync.WaitGroup
	for _, ask := range []func(context.Context, *facts){askAPI, askRedis, askKafka, askRegistry, askStatsD} {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			ask(ctx, w)
		})
	}
	asking.Wait()
	if w.redis.err == nil && w.kafka.cluster != nil && w.kafka.cluster.ClusterID != "" {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		askDestination(ctx, w)
	}
	return w
}

func askAPI(ctx context.Context, w *facts) {
	a, cfg, began := &w.api, w.cfg, time.Now()
	quiet := noMetrics()
	defer quiet.Close()
	session, err := newSession(cfg, slog.New(slog.DiscardHandler), quiet, nil)
	if err != nil {
		a.err = err
		return
	}
	defer session.Close()
	var mu sync.Mutex // guards what the hooks write
	token := func(ctx context.Context, refused string) (string, error) {
		token, err := session.Token(ctx, refused)
		mu.Lock()
		defer mu.Unlock()
		a.tokenEnds, _ = wiw.TokenEnd(token)
		a.login = waited(began, err)
		return token, err
	}
	source, err := wiw.New(wiw.Config{
		URL: cfg.WIW.URL.Reveal(), Token: token, TokenFrom: cfg.tokenName(), UserID: cfg.WIW.UserID,
		Include: cfg.WIW.Include, SliceDays: cfg.WIW.SliceDays, Rate: cfg.WIW.Rate,
		MaxBytes: int64(cfg.WIW.MaxBytes), Timeout: cfg.WIW.Timeout,
		OnResponse: func(r wiw.Response) {
			mu.Lock()
			defer mu.Unlock()
			a.class, a.took = r.Class, r.Latency
			if r.Class == "2xx" {
				a.answers++
			}
			if !r.Date.IsZero() {
				a.dated, a.skew = true, time.Until(r.Date)
			}
		},
		OnNotice: func(n wiw.Notice) {
			mu.Lock()
			defer mu.Unlock()
			a.silent = a.silent || n.Text == wiw.NoticeNoEcho
		},
	})
	if err != nil {
		a.err = err
		return
	}
	defer source.Close()
	if a.window, a.err = shiftsync.WindowAround(time.Now(), cfg.Sync.DaysPrior, cfg.Sync.DaysAhead); a.err != nil {
		return
	}
	if cfg.Check.Migrate {
		a.ids = map[int64]struct{}{}
	}
	accounts := map[int64]int{}
	a.err = source.Probe(ctx, a.window, func(id int64, _ uint64, raw []byte) error {
		a.shifts++
		var s shiftsync.Shift
		if source.Parse(raw, &s) != nil {
			a.unreadable++
			return nil
		}
		if accounts[s.AccountID]++; s.AccountID != 0 && accounts[s.AccountID] > accounts[a.account] {
			a.account = s.AccountID
		}
		if a.ids != nil {
			a.ids[id] = struct{}{}
			if len(a.samples) < maxSamples {
				a.samples = append(a.samples, s)
			}
		}
		return nil
	})
	a.err = waited(began, a.err)
}

func askRedis(ctx context.Context, w *facts) {
	r, began := &w.redis, time.Now()
	c := w.cfg.redis()
	var asking sync.WaitGroup
	defer asking.Wait()
	if c.Sentinel.Master != "" {
		asking.Go(func() { r.sentinels, _ = cache.AskSentinels(ctx, w.cfg.redis()) }) // Dial has the same complaint
	}
	c.Warn = func(text string) { r.warning = text }
	client, err := cache.Dial(c)
	if err != nil {
		r.err = err
		return
	}
	defer client.Close()
	if r.server, r.err = cache.Inspect(ctx, client); r.err != nil {
		r.err = waited(began, r.err)
		return
	}
	began = time.Now()
	// The cluster's id is not known yet. Rights to keys are given by their beginning, if not to all.
	store := cache.New(client, cache.Destination("any", w.cfg.Kafka.Topic, w.cfg.Sync.Name))
	r.refused, r.told, r.scripts = store.Rights(ctx)
	r.scripts = waited(began, r.scripts)
	walk, cancel := context.WithTimeout(ctx, walkFor)
	defer cancel()
	r.old, r.oldAll, r.oldErr = cache.CountOldKeys(walk, client)
}

// askDestination asks Redis what it keeps for this topic of this cluster.
func askDestination(ctx context.Context, w *facts) {
	r, began := &w.redis, time.Now()
	client, err := cache.Dial(w.cfg.redis())
	if err != nil {
		r.stateErr = err
		return
	}
	defer client.Close()
	cluster := w.kafka.cluster.ClusterID
	store := cache.New(client, cache.Destination(cluster, w.cfg.Kafka.Topic, w.cfg.Sync.Name), cache.Keep(w.cfg.Redis.Expire))
	r.state, r.stateErr = store.State(ctx)
	if r.server.IsNode || len(w.cfg.Redis.Cluster) > 0 { // of which one keeps this destination, and others may be away
		r.refused, r.told, r.scripts = store.Rights(ctx)
	}
	walk, cancel := context.WithTimeout(ctx, walkFor)
	defer cancel()
	r.stranded, _ = cache.Stranded(walk, client, cluster, w.cfg.Kafka.Topic, w.cfg.Sync.Name)
	if r.stateErr == nil && w.cfg.Check.Migrate {
		r.remembers, r.stateErr = countRemembered(ctx, store, w.api.ids)
	}
	r.stateErr = waited(began, r.stateErr)
}

// countRemembered counts the shifts that need not be published because nothing but a change would be news of them.
func countRemembered(ctx context.Context, store *cache.Redis, ids map[int64]struct{}) (n int, err error) {
	batch := make([]shiftsync.Sighting, 0, 500)
	known := make([]shiftsync.Known, cap(batch))
	look := func() error {
		err := store.Lookup(ctx, batch, known[:len(batch)])
		for _, k := range known[:len(batch)] {
			if k.Remembered && !k.Pending {
				n++
			}
		}
		batch = batch[:0]
		return err
	}
	for id := range ids {
		if batch = append(batch, shiftsync.Sighting{ID: id}); len(batch) == cap(batch) {
			if err := look(); err != nil {
				return n, err
			}
		}
	}
	return n, look()
}

func askKafka(ctx context.Context, w *facts) {
	k := &w.kafka
	kafka, err := newKafka(w.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		k.err = err
		return
	}
	defer kafka.Close()
	k.partitionOf = kafka.PartitionOf
	began := time.Now()
	k.cluster = kafka.Describe(ctx)
	for i := range k.cluster.Brokers {
		b := &k.cluster.Brokers[i]
		b.Err = waited(began, b.Err)
	}
	if !k.cluster.Reached() {
		return
	}
	began = time.Now()
	var asking sync.WaitGroup
	defer asking.Wait()
	if k.cluster.Topic == nil {
		asking.Go(func() {
			settings, err := kafka.TopicSettings(ctx)
			k.settings, k.settingsErr = settings, waited(began, err)
		})
		asking.Go(func() {
			topic, err := kafka.Topic(ctx)
			k.ends, k.endsErr = topic.Ends, waited(began, err)
		})
	}
	if w.cfg.Kafka.DeadLetters != "" {
		asking.Go(func() { askLetters(ctx, w, kafka) })
	}
	if w.cfg.transactionalID() != "" {
		asking.Go(func() {
			memory, err := kafka.FenceMemory(ctx)
			k.memory, k.memoryErr = memory, waited(began, err)
		})
		asking.Go(func() {
			right, err := kafka.FenceRight(ctx)
			k.fence, k.fenceErr = right, waited(began, err)
		})
	}
}

func askLetters(ctx context.Context, w *facts, kafka *publish.Kafka) {
	l := &w.kafka.letters
	letters, err := newDeadLetters(w.cfg, kafka)
	if err != nil {
		l.err = err
		return
	}
	defer letters.Close()
	if l.cluster = letters.Describe(ctx); l.cluster.Topic == nil {
		began := time.Now()
		l.settings, err = letters.TopicSettings(ctx)
		l.settingsErr = waited(began, err)
	}
}

func askRegistry(ctx context.Context, w *facts) {
	registry, err := newRegistry(w.cfg)
	if err != nil {
		w.registry.err = err
		return
	}
	encoder, err := newEncoder(w.cfg, registry)
	if err != nil {
		w.registry.err = err
		return
	}
	began := time.Now()
	found, err := encoder.Inspect(ctx)
	w.registry.found, w.registry.err = found, waited(began, err)
}

// unanswered is the error of a question that was given up.
type unanswered struct {
	after time.Duration
	err   error
}

func (u *unanswered) Error() string { return fmt.Sprintf("no answer within %s", rounded(u.after)) }
func (u *unanswered) Unwrap() error { return u.err }

// waited is an error as an operator wants to read it: one that says no more than that there was no answer in time tells
// how long it was waited for.
func waited(since time.Time, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &unanswered{time.Since(since), err}
	}
	return err
}
