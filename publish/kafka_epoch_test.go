package publish_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestTakeoverFencesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	t.Run("a batch whose answer is lost is not repeated", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		proxy := publishtest.NewProxy()
		t.Cleanup(proxy.Close)
		old := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id", Dial: proxy.Dial, Attempt: time.Second})
		held := proxy.Catch(publishtest.Answer, 0, 1)
		done := make(chan struct{})
		var outcomes []shiftsync.Outcome
		var err error
		go func() {
			defer close(done)
			outcomes, err = old.Publish(t.Context(), &right{}, "pass", versions("old"))
		}()
		within(t, "answer held back", held.Caught())
		next := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id"})
		mustPublish(t, next, versions("new"))
		within(t, "publish", done)
		if !errors.Is(err, shiftsync.ErrFenced) || !strings.Contains(err.Error(), `"id"`) {
			t.Errorf("error %v, want ErrFenced that names the transactional id", err)
		}
		if got, want := fates(outcomes), all(shiftsync.Unknown, 1); !slices.Equal(got, want) {
			t.Errorf("fates %v, want %v", got, want)
		}
		wantLog(t, c, "old", "new")
	})
	t.Run("a batch that arrives late is refused", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{Partitions: 3})
		proxy := publishtest.NewProxy()
		t.Cleanup(proxy.Close)
		old := startProducer(t, c, publish.KafkaOptions{
			TransactionalID: "id", Dial: proxy.Dial, Attempt: 100 * time.Millisecond, Limit: 400 * time.Millisecond,
		})
		late := versions("old")
		held := proxy.Catch(publishtest.Request, 0, 1)
		rest := proxy.Catch(publishtest.Request, 0, 100)
		outcomes, err := old.Publish(t.Context(), &right{}, "pass", late)
		if got, want := fates(outcomes), all(shiftsync.Unknown, 1); err == nil || !slices.Equal(got, want) {
			t.Fatalf("fates %v, error %v, want %v and an error", got, err, want)
		}
		rest.Drop()
		next := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id"})
		mustPublish(t, next, versions("new"))
		arrived := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Count: 1, Observe: true})
		held.Release()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := arrived.Wait(ctx, 1); err != nil {
			t.Fatal(err)
		}
		wantLog(t, c, "new")

		for i := 1; ; i++ {
			outcomes, err = old.Publish(t.Context(), &right{}, "pass", []shiftsync.Record{record(i, "old")})
			if errors.Is(err, shiftsync.ErrFenced) || i == 20 {
				break // a key of a partition that was not given up
			}
		}
		if got, want := fates(outcomes), all(shiftsync.Unsent, 1); !errors.Is(err, shiftsync.ErrFenced) || !slices.Equal(got, want) {
			t.Errorf("fates %v, error %v, want %v and ErrFenced", got, err, want)
		}
		produced := watch[*kmsg.ProduceRequest](c, kmsg.Produce)
		everywhere := versions("old", "old", "old", "old", "old", "old", "old", "old", "old", "old")
		if _, err := old.Publish(t.Context(), &right{}, "pass", everywhere); !errors.Is(err, shiftsync.ErrFenced) {
			t.Errorf("error %v, want ErrFenced", err)
		}
		if n := len(produced.all()); n != 0 {
			t.Errorf("sent %d batches after it knew that it was fenced", n)
		}
		wantLog(t, c, "new")
	})
}

func TestBegin(t *testing.T) {
	t.Parallel()
	t.Run("a passing error is waited out", func(t *testing.T) {
		t.Parallel()
		for _, code := range []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.ConcurrentTransactions} {
			c := startKafka(t, publishtest.KafkaOptions{})
			f := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: code, Count: 2})
			startProducer(t, c, fenced)
			if f.Hits() != 2 {
				t.Errorf("%s: met %d times, want 2", code.Message, f.Hits())
			}
		}
	})
	t.Run("without a takeover somebody newer is not displaced", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		k := startProducer(t, c, fenced)
		asked := watch[*kmsg.InitProducerIDRequest](c, kmsg.InitProducerID)
		for _, code := range []*kerr.Error{kerr.ProducerFenced, kerr.InvalidProducerEpoch} {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: code})
			err := k.Begin(t.Context(), false)
			if !errors.Is(err, shiftsync.ErrFenced) || !strings.Contains(err.Error(), fenced.TransactionalID) {
				t.Errorf("%s: error %v, want ErrFenced that names the transactional id", code.Message, err)
			}
		}
		for _, r := range asked.all() {
			if r.ProducerID < 0 || r.ProducerEpoch < 0 {
				t.Errorf("asked with producer %d, epoch %d: that displaces anybody", r.ProducerID, r.ProducerEpoch)
			}
		}
		if _, err := k.Publish(t.Context(), &right{}, "pass", versions("a")); !errors.Is(err, shiftsync.ErrFenced) {
			t.Errorf("publish after it: error %v, want ErrFenced", err)
		}
		if err := k.Begin(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		mustPublish(t, k, versions("a"))
	})
	t.Run("a lost answer is asked for again with the same epoch", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		proxy := publishtest.NewProxy()
		t.Cleanup(proxy.Close)
		k := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id", Dial: proxy.Dial, Attempt: 200 * time.Millisecond})
		asked := watch[*kmsg.InitProducerIDRequest](c, kmsg.InitProducerID)
		held := proxy.Catch(publishtest.Answer, 22, 1)
		if err := k.Begin(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		held.Release()
		got := asked.all()
		if len(got) != 2 || got[0].ProducerID != got[1].ProducerID || got[0].ProducerEpoch != got[1].ProducerEpoch || got[0].ProducerID < 0 {
			t.Errorf("asked %d times, want twice with the same id and epoch: %+v", len(got), got)
		}
		mustPublish(t, k, versions("a"))
	})
	t.Run("nothing is published before it", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		k := newProducer(t, c, fenced)
		outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("a"))
		if err == nil || outcomes[0].Fate != shiftsync.Unsent {
			t.Errorf("fate %v, error %v, want Unsent and an error", outcomes[0].Fate, err)
		}
		if err := k.Begin(t.Context(), false); err == nil {
			t.Error("began without an epoch to go on from")
		}
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	renewing := func(every time.Duration) publish.KafkaOptions {
		return publish.KafkaOptions{TransactionalID: "id", RenewEvery: every}
	}
	t.Run("not due, it asks nothing", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		for _, o := range []publish.KafkaOptions{renewing(time.Hour), {TransactionalID: "id"}, {RenewEvery: 1}} {
			k := startProducer(t, c, o)
			asked := watch[*kmsg.InitProducerIDRequest](c, kmsg.InitProducerID)
			if err := k.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(asked.all()); n != 0 {
				t.Errorf("%+v: asked %d times", o, n)
			}
		}
	})
	t.Run("due, it takes a new epoch with its own", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		k := startProducer(t, c, renewing(1))
		mustPublish(t, k, versions("a"))
		asked := watch[*kmsg.InitProducerIDRequest](c, kmsg.InitProducerID)
		if err := k.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := asked.all(); len(got) != 1 || got[0].ProducerID < 0 || got[0].ProducerEpoch < 0 {
			t.Errorf("asked %+v, want once with its own id and epoch", got)
		}
		mustPublish(t, k, versions("b")) // the broker takes only sequence 0 in a new epoch
		wantLog(t, c, "a", "b")
	})
	t.Run("due after a third of the broker's expiration", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{Settings: map[string]string{"transactional.id.expiration.ms": "3000"}})
		k := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id"})
		asked := watch[*kmsg.InitProducerIDRequest](c, kmsg.InitProducerID)
		began := time.Now()
		for len(asked.all()) == 0 {
			if err := k.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			select {
			case <-t.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
			if time.Since(began) > 5*time.Second {
				t.Fatal("not renewed within 5 s")
			}
		}
		if took := time.Since(began); took < 800*time.Millisecond {
			t.Errorf("renewed after %s, want about a second", took)
		}
	})
	t.Run("due after a day at most, and sooner if the broker forgets sooner", func(t *testing.T) {
		t.Parallel()
		for _, test := range []struct {
			name     string
			settings map[string]string
			fault    *kerr.Error
			want     time.Duration
		}{
			{"the broker's default, a week", nil, nil, 24 * time.Hour},
			{"three days", map[string]string{"transactional.id.expiration.ms": "259200000"}, nil, 24 * time.Hour},
			{"an hour", map[string]string{"transactional.id.expiration.ms": "3600000"}, nil, 20 * time.Minute},
			{"no right to see it", map[string]string{"transactional.id.expiration.ms": "3600000"}, kerr.ClusterAuthorizationFailed, 24 * time.Hour},
		} {
			c := startKafka(t, publishtest.KafkaOptions{Settings: test.settings})
			k := newProducer(t, c, fenced)
			if test.fault != nil {
				c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: test.fault, Count: -1})
			}
			if got := publish.RenewEvery(t.Context(), k); got != test.want {
				t.Errorf("%s: got %s, want %s", test.name, got, test.want)
			}
		}
	})
	t.Run("an answer that fails once is asked for again", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{Settings: map[string]string{"transactional.id.expiration.ms": "3600000"}})
		k := newProducer(t, c, fenced)
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.RequestTimedOut, Count: 1})
		if got, want := publish.RenewEvery(t.Context(), k), 20*time.Minute; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("what was told before stands while nothing is answered", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{Settings: map[string]string{"transactional.id.expiration.ms": "3600000"}})
		k := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id", Limit: 400 * time.Millisecond})
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.RequestTimedOut, Count: -1})
		if got, want := publish.RenewEvery(t.Context(), k), 20*time.Minute; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("given up partitions stay so", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		k := startProducer(t, c, renewing(1))
		c.Fault(fault(kerr.OutOfOrderSequenceNumber, 1))
		_, _ = k.Publish(t.Context(), &right{}, "pass", versions("a"))
		if err := k.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("b")); err == nil || outcomes[0].Fate != shiftsync.Unsent {
			t.Errorf("fate %v, error %v, want Unsent and an error", outcomes[0].Fate, err)
		}
		wantLog(t, c)
	})
	t.Run("fenced, it says so and nothing is sent any more", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		k := startProducer(t, c, renewing(1))
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ProducerFenced})
		if err := k.Renew(t.Context()); !errors.Is(err, shiftsync.ErrFenced) || !strings.Contains(err.Error(), `"id"`) {
			t.Errorf("error %v, want ErrFenced that names the transactional id", err)
		}
		outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("a"))
		if !errors.Is(err, shiftsync.ErrFenced) || outcomes[0].Fate != shiftsync.Unsent {
			t.Errorf("fate %v, error %v, want Unsent and ErrFenced", outcomes[0].Fate, err)
		}
		wantLog(t, c)
	})
}

// When the numbers of epochs are used up, the broker gives a new producer id. It does not keep out what is under way
// under the old one.
func TestABatchInDoubtIsSettledBeforeANewProducerID(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	k := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id", Limit: 500 * time.Millisecond})
	mustPublish(t, k, versions("1"))
	away := c.Fault(fault(kerr.NotLeaderForPartition, -1))
	if outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("a")); err == nil || outcomes[0].Fate != shiftsync.Unknown {
		t.Fatalf("fate %v, error %v, want Unknown and an error", outcomes[0].Fate, err)
	}
	fresh := freshProducer(t, c)
	c.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		res := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		res.ProducerID, res.ProducerEpoch = fresh, 0
		return res, nil, true
	})
	if err := k.Begin(t.Context(), false); err == nil || !strings.Contains(err.Error(), topic+"/0") {
		t.Errorf("error %v, want one that names the partition of the batch in doubt", err)
	}
	if outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("b")); err == nil || outcomes[0].Fate != shiftsync.Unsent {
		t.Errorf("fate %v, error %v, want Unsent and an error", outcomes[0].Fate, err)
	}
	away.Remove()
	if err := k.Begin(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, k, versions("b"))
	wantLog(t, c, "1", "a", "b")
}

// freshProducer returns a producer id that the broker has given to nobody.
func freshProducer(t *testing.T, c *cluster) int64 {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrInitProducerIDRequest()
	res, err := req.RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	return res.ProducerID
}

func TestUnfenced(t *testing.T) {
	t.Parallel()
	// doubtful returns a producer whose batch with the value "a" was not answered and did not arrive.
	doubtful := func(t *testing.T) (*cluster, *publish.Kafka, *kfake.FaultHandle) {
		c := startKafka(t, publishtest.KafkaOptions{})
		k := startProducer(t, c, publish.KafkaOptions{Limit: 500 * time.Millisecond})
		mustPublish(t, k, versions("1", "2", "3"))
		away := c.Fault(fault(kerr.NotLeaderForPartition, -1))
		outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("a"))
		if err == nil || outcomes[0].Fate != shiftsync.Unknown {
			t.Fatalf("fate %v, error %v, want Unknown and an error", outcomes[0].Fate, err)
		}
		return c, k, away
	}
	t.Run("no right to the transactional id is told once", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: "id", Err: kerr.TransactionalIDAuthorizationFailed, Count: -1})
		var notices []string
		k := newProducer(t, c, publish.KafkaOptions{TransactionalID: "id", OnNotice: func(s string) { notices = append(notices, s) }})
		for range 2 {
			if err := k.Begin(t.Context(), true); err != nil {
				t.Fatal(err)
			}
		}
		if len(notices) != 1 || !strings.Contains(notices[0], `NOT FENCED`) || !strings.Contains(notices[0], `"id"`) {
			t.Errorf("notices %q, want one that names the transactional id", notices)
		}
		mustPublish(t, k, versions("a"))
	})
	t.Run("a right withdrawn later is told at the renewal", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		var notices []string
		k := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id", RenewEvery: 1, OnNotice: func(s string) { notices = append(notices, s) }})
		mustPublish(t, k, versions("a"))
		if len(notices) != 0 {
			t.Errorf("notices %q with the right", notices)
		}
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: "id", Err: kerr.TransactionalIDAuthorizationFailed, Count: -1})
		if err := k.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(notices) != 1 {
			t.Errorf("notices %q, want one", notices)
		}
		mustPublish(t, k, versions("b"))
		wantLog(t, c, "a", "b")
	})
	t.Run("no new id while a batch is in doubt", func(t *testing.T) {
		t.Parallel()
		c, k, _ := doubtful(t)
		asked := watch[*kmsg.InitProducerIDRequest](c, kmsg.InitProducerID)
		for _, takeover := range []bool{false, true} {
			if err := k.Begin(t.Context(), takeover); err == nil || !strings.Contains(err.Error(), topic+"/0") {
				t.Errorf("takeover %t: error %v, want one that names the partition", takeover, err)
			}
		}
		if n := len(asked.all()); n != 0 {
			t.Errorf("asked for %d new ids", n)
		}
		produced := watch[*kmsg.ProduceRequest](c, kmsg.Produce)
		if outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("b")); err == nil || outcomes[0].Fate != shiftsync.Unsent {
			t.Errorf("fate %v, error %v, want Unsent and an error", outcomes[0].Fate, err)
		}
		if n := len(produced.all()); n != 0 {
			t.Errorf("sent %d batches to a partition with one in doubt", n)
		}
	})
	t.Run("a batch in doubt goes out before anything else", func(t *testing.T) {
		t.Parallel()
		c, k, away := doubtful(t)
		away.Remove()
		if err := k.Begin(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		mustPublish(t, k, versions("b"))
		wantLog(t, c, "1", "2", "3", "a", "b")
	})
	t.Run("after a takeover too if nobody else has written", func(t *testing.T) {
		t.Parallel()
		c, k, away := doubtful(t)
		away.Remove()
		if err := k.Begin(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		wantLog(t, c, "1", "2", "3", "a")
	})
	for name, others := range map[string][]string{
		"after a takeover it does not land behind what another worker wrote":          {"other", "newer"},
		"after a takeover it does not land behind as many records as there are in it": {"other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, k, away := doubtful(t)
			away.Remove()
			mustPublish(t, startProducer(t, c, publish.KafkaOptions{}), versions(others...))
			if err := k.Begin(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			mustPublish(t, k, versions("b"))
			wantLog(t, c, slices.Concat([]string{"1", "2", "3"}, others, []string{"b"})...)
		})
	}
	t.Run("after a takeover it is not sent again if it landed", func(t *testing.T) {
		t.Parallel()
		c := startKafka(t, publishtest.KafkaOptions{})
		k := startProducer(t, c, publish.KafkaOptions{Limit: 500 * time.Millisecond})
		mustPublish(t, k, versions("1"))
		unanswered := c.Fault(fault(kerr.RequestTimedOut, -1)) // the broker has appended when it says so
		if outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("a")); err == nil || outcomes[0].Fate != shiftsync.Unknown {
			t.Fatalf("fate %v, error %v, want Unknown and an error", outcomes[0].Fate, err)
		}
		unanswered.Remove()
		if err := k.Begin(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		mustPublish(t, k, versions("b"))
		wantLog(t, c, "1", "a", "b")
	})
}
