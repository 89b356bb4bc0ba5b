//go:build linux

package main

import (
	"io"
	"net/http"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/publish/publishtest"
)

// topic is where the worker writes to, in so many partitions.
const (
	topic      = "bench"
	partitions = 6
)

// brokerOptions are those of the broker, with a registry beside it. It stores what it gets in files, checks sequences and
// fences; what it does not do is replicate.
type brokerOptions struct {
	Dir string `required:""`
}

func (o brokerOptions) serve(stdin io.Reader, stdout io.Writer) error {
	kafka, err := publishtest.StartKafka(publishtest.KafkaOptions{Topic: topic, Partitions: partitions, DataDir: o.Dir})
	if err != nil {
		return err
	}
	defer kafka.Close()
	registry := srfake.New()
	defer registry.Close()
	var c counters
	kafka.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		c.requests.Add(1)
		if p, ok := r.(*kmsg.ProduceRequest); ok {
			for _, t := range p.Topics {
				for _, part := range t.Partitions {
					c.bytes.Add(int64(len(part.Records)))
				}
			}
		}
		return nil, nil, false
	})
	return serveUntilEOF(stdin, stdout, &c, http.NewServeMux(), func(addr string) hello {
		return hello{Control: addr, Registry: strings.TrimSuffix(registry.URL(), "/"), Brokers: kafka.Addrs}
	})
}
