package publish_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"

	"github.com/slotsync/slotsync/publish"
)

// pipedBroker is a broker at the other end of pipes, over which the time of a test can pass. It lets in whom it knows,
// and tells its cluster's id.
type pipedBroker struct {
	// login answers what is sent to log in; nil: nothing is answered any more; hangUp: it hangs up.
	login func(sent []byte) *saslauthenticate.Response

	mu     sync.Mutex // guards what follows
	logins int        // messages of logins that came
	dialed []string   // addresses
	open   int        // connections
}

var hangUp = &saslauthenticate.Response{}

func (b *pipedBroker) dial(_ context.Context, _, address string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dialed = append(b.dialed, address)
	b.open++
	go b.serve(theirs)
	return ours, nil
}

func (b *pipedBroker) serve(c net.Conn) {
	defer func() {
		c.Close()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.open--
	}()
	for {
		version, id, _, req, err := protocol.ReadRequest(c)
		if err != nil {
			return
		}
		res := b.answer(req)
		if res == hangUp {
			return
		}
		if res == nil {
			_, _ = c.Read(make([]byte, 1)) // to the end
			return
		}
		if protocol.WriteResponse(c, version, id, res) != nil {
			return
		}
	}
}

func (b *pipedBroker) answer(req protocol.Message) protocol.Message {
	switch m := req.(type) {
	case *apiversions.Request:
		res := &apiversions.Response{}
		for _, key := range []protocol.ApiKey{protocol.ApiVersions, protocol.SaslHandshake, protocol.SaslAuthenticate, protocol.Metadata} {
			res.ApiKeys = append(res.ApiKeys, apiversions.ApiKeyResponse{ApiKey: int16(key), MaxVersion: 1})
		}
		res.ApiKeys[len(res.ApiKeys)-1].MaxVersion = 5 // the second tells the cluster's id
		return res
	case *saslhandshake.Request:
		return &saslhandshake.Response{}
	case *saslauthenticate.Request:
		b.mu.Lock()
		b.logins++
		b.mu.Unlock()
		if res := b.login(m.AuthBytes); res != nil {
			return res
		}
	case *metadata.Request:
		return &metadata.Response{ClusterID: "here"}
	}
	return nil
}

// tried returns how many messages to log in came since it was asked the last time.
func (b *pipedBroker) tried() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.logins
	b.logins = 0
	return n
}

// behind returns a client of three addresses, at each of which the broker answers.
func (b *pipedBroker) behind(t *testing.T, login *publish.Login) *publish.Kafka {
	t.Helper()
	k, err := publish.NewKafka([]string{"one:9092", "two:9092", "three:9092"}, topic, publish.KafkaOptions{Login: login, Dial: b.dial})
	if err != nil {
		t.Fatal(err)
	}
	return k
}
