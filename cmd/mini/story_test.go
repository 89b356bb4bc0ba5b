package main

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

func TestWhatWasInTheTopicComesBeforeTheLineThatTellsOfIt(t *testing.T) {
	st, err := newStage()
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(st.world.Kafka.Addrs...), kgo.DefaultProduceTopic(world.Topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), kgo.StringRecord("of no schema")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	late, err := newReader(st.world) // which has nothing at hand, as the stage's own may by now
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	lines, ended := make(chan string), make(chan struct{})
	go func() {
		defer close(ended)
		lines <- "12:00:00 in step"
	}()
	var out strings.Builder
	newStory(newScreen(&out, nil, nil), late).tell(t.Context(), lines, nil, ended)
	record, line := strings.Index(out.String(), "cannot be read: key: not in Confluent's wire format"), strings.Index(out.String(), "worker 12:00:00 in step\n")
	if record < 0 || line < record {
		t.Errorf("got\n%s", &out)
	}
}
