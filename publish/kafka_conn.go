package publish

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
)

// brokerConn is a connection to one broker, for one question after the other. It ends with the context that it was
// made with.
type brokerConn struct {
	*protocol.Conn
	apis []apiversions.ApiKeyResponse
	stop func() bool
}

// Close ends the connection.
func (c *brokerConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// highest returns the highest version of a request that the broker takes, or -1.
func (c *brokerConn) highest(api protocol.ApiKey) int {
	for _, a := range c.apis {
		if protocol.ApiKey(a.ApiKey) == api {
			return int(a.MaxVersion)
		}
	}
	return -1
}

// connect makes a connection like those of the transport, and asks for the broker's versions.
func (k *Kafka) connect(ctx context.Context, address string) (*brokerConn, error) {
	k.dialer.asked()
	raw, err := k.dialer.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &brokerConn{Conn: protocol.NewConn(raw, k.options.ClientID)}
	c.stop = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	if c.apis, err = greet(c.Conn); err != nil {
		_ = c.Close()
		if ctx.Err() != nil {
			err = ctx.Err() // behind what the connection makes of it
		}
		return nil, err
	}
	return c, nil
}
