package publish_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
)

func TestFiguresCountWhatTheProducerDid(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	proxy := publishtest.NewProxy()
	t.Cleanup(proxy.Close)
	k := startProducer(t, c, publish.KafkaOptions{TransactionalID: fenced.TransactionalID, Dial: proxy.Dial, Attempt: 200 * time.Millisecond})
	before := k.Figures()
	if before.Epochs != 1 || before.Batches != 0 {
		t.Errorf("after the takeover: got %+v, want one epoch", before)
	}
	want := func(claim string, batches, retries, unknown, epochs int64) {
		t.Helper()
		got := k.Figures().Since(before)
		if bytes := got.Bytes; (bytes > 0) != (batches > unknown) {
			t.Errorf("%s: got %d bytes of %d batches", claim, bytes, batches-unknown)
		}
		got.Bytes = 0
		if got != (publish.Figures{Batches: batches, Retries: retries, Unknown: unknown, Epochs: epochs}) {
			t.Errorf("%s: got %+v", claim, got)
		}
		before = k.Figures()
	}
	mustPublish(t, k, versions("a0", "b0"))
	want("one batch of two records", 1, 0, 0, 0)

	held := proxy.Catch(publishtest.Answer, 0, 1)
	mustPublish(t, k, versions("a1"))
	within(t, "an answer held back", held.Caught())
	held.Release()
	want("an answer that got lost", 1, 1, 0, 0)

	c.Fault(fault(kerr.OutOfOrderSequenceNumber, 1))
	if _, err := k.Publish(t.Context(), &right{}, "pass", versions("a2")); err == nil {
		t.Error("no error")
	}
	want("given up", 1, 0, 1, 0)
	if err := k.Begin(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	want("a new epoch", 0, 0, 0, 1)
}
