//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/cache/cachetest"
	"github.com/slotsync/slotsync/publish/publishtest"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

const (
	topic = "shifts"
	token = "sEcReT-session-token" // what no log may hold

	slots = 3 // for workers, each with roads of its own to Redis and to the brokers
)

// stack is what surrounds the workers: a real Redis and three real brokers; an API and a registry inside this process;
// and the roads to all of them. The harness itself goes past the roads.
type stack struct {
	redis    *cachetest.Server
	look     *redis.Client // at what Redis holds
	brokers  *publishtest.Brokers
	api      *wiwtest.Server
	registry *srfake.Registry

	toRedis    [slots]*road
	toBrokers  [slots][]*road // one a broker
	taps       [slots][]*tap  // before those
	flying     [slots]*flying // what the taps see
	toAPI      *road
	toRegistry *road

	front *httptest.Server // of the API
	asked hook             // called before the API answers
	one   oneShift         // what is asked of the API about single shifts
	keys  string           // what the destination's keys in Redis begin with; known since find
}

// startStack starts all of it in dir. Close ends it.
func startStack(ctx context.Context, dir, jars string, out *narrator) (s *stack, err error) {
	s = &stack{api: wiwtest.New(wiwtest.Options{Token: token, Plain: true}), registry: srfake.New(), one: oneShift{asked: map[string]struct{}{}}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.redis, err = cachetest.Start(dir, "--appendfsync", "always"); err != nil { // what it acknowledged survives kill -9
		return s, err
	}
	s.look = redis.NewClient(&redis.Options{
		Addr: s.redis.Addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true,
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
	})
	s.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.api.Forget() // it notes all that it is asked
		if path, is := strings.CutPrefix(r.URL.Path, "/2/shifts/"); is {
			s.one.serve(w, r, path, s.api)
			return
		}
		s.asked.call()
		s.api.ServeHTTP(w, r)
	}))
	if s.toAPI, err = newRoad(s.front.Listener.Addr().String()); err != nil {
		return s, err
	}
	if s.toRegistry, err = newRoad(strings.TrimPrefix(s.registry.URL(), "http://")); err != nil {
		return s, err
	}
	var fronts []publishtest.Front
	for slot := range slots {
		if s.toRedis[slot], err = newRoad(s.redis.Addr); err != nil {
			return s, err
		}
		s.flying[slot] = &flying{}
		fronts = append(fronts, func(_ int, behind string) (string, error) {
			r, err := newRoad(behind)
			if err != nil {
				return "", err
			}
			s.toBrokers[slot] = append(s.toBrokers[slot], r)
			t, err := newTap(r.Addr(), s.flying[slot])
			if err != nil {
				return "", err
			}
			s.taps[slot] = append(s.taps[slot], t)
			return t.Addr(), nil
		})
	}
	out.say("starting three brokers")
	if s.brokers, err = publishtest.StartBrokers(ctx, dir, jars, fronts...); err != nil {
		return s, err
	}
	return s, s.brokers.CreateTopic(ctx, topic, map[string]string{"max.message.bytes": strconv.Itoa(mostRecord)})
}

// Close ends all of it.
func (s *stack) Close() {
	roads := []*road{s.toAPI, s.toRegistry}
	for slot := range slots {
		roads = append(append(roads, s.toRedis[slot]), s.toBrokers[slot]...)
	}
	for _, r := range roads {
		if r != nil {
			r.Close()
		}
	}
	for _, taps := range s.taps {
		for _, t := range taps {
			t.Close()
		}
	}
	if s.front != nil {
		s.front.CloseClientConnections()
		s.front.Close()
	}
	s.registry.Close()
	if s.brokers != nil {
		s.brokers.Close()
	}
	if s.look != nil {
		_ = s.look.Close()
	}
	if s.redis != nil {
		s.redis.Close()
	}
}

// env are the settings with which the worker of a slot finds its roads.
func (s *stack) env(slot int, m mode) []string {
	var brokers []string
	for _, t := range s.taps[slot] {
		brokers = append(brokers, t.Addr())
	}
	return []string{
		"WIW_URL=http://" + s.toAPI.Addr(), "WIW_KEY=" + token, "WIW_INCLUDE=open", "WIW_RATE=6000", "WIW_TIMEOUT=5s",
		"SYNC_DAYS_PRIOR=1", "SYNC_DAYS_AHEAD=2", "SYNC_SLEEP_PERIOD_SECONDS=1", "LOG_LEVEL=debug",
		"SYNC_DELETES=" + string(m), "GONE_SHARE=" + goneShare, "DLQ_TOPIC=" + lettersTopic,
		"KAFKA_BROKERS=" + strings.Join(brokers, ","), "KAFKA_TOPIC_NAME=" + topic,
		"SCHEMA_REGISTRY_URL=http://" + s.toRegistry.Addr(), "REDIS_URL=redis://" + s.toRedis[slot].Addr(),
		"LOG_FORMAT=json",
	}
}

// goneShare is so high that no usual deletions are taken for a fault.
const goneShare = "0.5"

// oneShift is the API where it is asked for single shifts.
type oneShift struct {
	first hook // called before the next answer

	mu    sync.Mutex // guards what follows
	asked map[string]struct{}
	none  bool // it says that there is no such shift, whichever is asked for
}

func (o *oneShift) serve(w http.ResponseWriter, r *http.Request, id string, api http.Handler) {
	o.first.call()
	o.mu.Lock()
	none := o.none
	o.mu.Unlock()
	if none {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":"No shift found","code":4005}`)
	} else {
		api.ServeHTTP(w, r)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked[id] = struct{}{}
}

// forget forgets what was asked for until now.
func (o *oneShift) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = map[string]struct{}{}
}

// answered tells for how many of the shifts an answer was given since forget.
func (o *oneShift) answered(ids []int64) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		if _, is := o.asked[strconv.FormatInt(id, 10)]; is {
			n++
		}
	}
	return n
}

// deny makes it say that there is no such shift, whichever is asked for, or the truth again.
func (o *oneShift) deny(none bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.none = none
}

// hook is something to be done once.
type hook struct {
	mu sync.Mutex // guards do
	do func()
}

// set says what is to be done, and tells whether something was to be done that was not.
func (h *hook) set(do func()) (undone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	undone = h.do != nil
	h.do = do
	return undone
}

func (h *hook) call() {
	h.mu.Lock()
	do := h.do
	h.do = nil
	h.mu.Unlock()
	if do != nil {
		do()
	}
}

// What the harness reads in Redis is how the worker lays things out there, and the only thing that it knows of its inside.

var processID = regexp.MustCompile(`process (\d+)`)

// find looks where the workers keep what they remember. One of them has to hold the lease.
func (s *stack) find(ctx context.Context) error {
	found, err := s.look.Keys(ctx, "slotsync:{*}:lease").Result()
	if err != nil {
		return fmt.Errorf("look for the lease: %w", err)
	}
	if len(found) != 1 {
		return fmt.Errorf("look for the lease: there are %d", len(found))
	}
	s.keys = strings.TrimSuffix(found[0], "lease")
	return nil
}

// holder returns the process that holds the lease; an error if nobody does.
func (s *stack) holder(ctx context.Context) (pid int, err error) {
	name, err := s.look.HGet(ctx, s.keys+"lease", "name").Result()
	if err != nil {
		return 0, err
	}
	if m := processID.FindStringSubmatch(name); m != nil {
		return strconv.Atoi(m[1])
	}
	return 0, fmt.Errorf("the holder's name tells no process: %q", name)
}

// openIntents counts the records that are about to be published, or in doubt.
func (s *stack) openIntents(ctx context.Context) (int, error) {
	n, err := s.look.HLen(ctx, s.keys+"intents").Result()
	return int(n), err
}

// intended returns the labels of those versions of the shifts whose intents stand.
func (s *stack) intended(ctx context.Context, ids []int64) (map[int64]label, error) {
	fields := make([]string, len(ids))
	for i, id := range ids {
		fields[i] = strconv.FormatInt(id, 10)
	}
	values, err := s.look.HMGet(ctx, s.keys+"intents", fields...).Result()
	if err != nil {
		return nil, err
	}
	labels := map[int64]label{}
	for i, v := range values {
		if text, ok := v.(string); ok {
			if l, ok := labelIn(text); ok {
				labels[ids[i]] = l
			}
		}
	}
	return labels, nil
}

// standing returns the shifts of which an intent stands.
func (s *stack) standing(ctx context.Context) ([]int64, error) {
	fields, err := s.look.HKeys(ctx, s.keys+"intents").Result()
	return numbers(fields), err
}

// forget drops what is remembered of up to n shifts, as their expiry would, and returns of which. They are told of
// before: a worker may be quicker.
func (s *stack) forget(ctx context.Context, n int, tell func(ids []int64)) error {
	fields, err := s.look.HRandField(ctx, s.keys+"shifts", n).Result()
	if err != nil || len(fields) == 0 {
		return err
	}
	tell(numbers(fields))
	return s.look.HDel(ctx, s.keys+"shifts", fields...).Err()
}

func numbers(fields []string) []int64 {
	ids := make([]int64, 0, len(fields))
	for _, f := range fields {
		if id, err := strconv.ParseInt(f, 10, 64); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// hurry makes the next pass look for missing shifts, and ask for all of them: as when much time has passed. A note of
// one ends with the time in four bytes before which it is not asked for again.
const hurry = `
redis.call('DEL', KEYS[1])
local notes = redis.call('HGETALL', KEYS[2])
for i = 1, #notes, 2 do
  redis.call('HSET', KEYS[2], notes[i], string.sub(notes[i + 1], 1, -5) .. '\0\0\0\0')
end
return #notes / 2`

func (s *stack) hurry(ctx context.Context) error {
	return s.look.Eval(ctx, hurry, []string{s.keys + "called", s.keys + "missing"}).Err()
}

// fill makes Redis refuse whatever needs memory.
func (s *stack) fill(ctx context.Context) (undo, error) {
	if err := s.look.ConfigSet(ctx, "maxmemory", "1mb").Err(); err != nil {
		return nil, err
	}
	return func() error { return s.look.ConfigSet(context.WithoutCancel(ctx), "maxmemory", "0").Err() }, nil
}
