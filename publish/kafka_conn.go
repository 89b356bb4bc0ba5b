package publish

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"
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

// connect does what the transport does for its own connections: dial, TLS, versions, login.
func (k *Kafka) connect(ctx context.Context, address string) (*brokerConn, error) {
	raw, err := k.dialer.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	whole := raw
	if k.options.TLS != nil {
		config := k.options.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName = host
		}
		secured := tls.Client(raw, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, fmt.Errorf("tls: %w", err)
		}
		whole = secured
	}
	c := &brokerConn{Conn: protocol.NewConn(whole, k.options.ClientID)}
	c.stop = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	if err := k.greet(ctx, c, host, port); err != nil {
		_ = c.Close()
		if ctx.Err() != nil {
			err = ctx.Err() // behind what the connection makes of it
		}
		return nil, err
	}
	return c, nil
}

func (k *Kafka) greet(ctx context.Context, c *brokerConn, host, port string) error {
	m, err := c.RoundTrip(&apiversions.Request{})
	if err != nil {
		return fmt.Errorf("api versions: %w", closedEarly(err))
	}
	answer := m.(*apiversions.Response)
	if answer.ErrorCode != 0 {
		return fmt.Errorf("api versions: %w", kafka.Error(answer.ErrorCode))
	}
	c.apis = answer.ApiKeys
	versions := make(map[protocol.ApiKey]int16, len(c.apis))
	for _, a := range c.apis {
		key := protocol.ApiKey(a.ApiKey)
		versions[key] = key.SelectVersion(a.MinVersion, a.MaxVersion)
	}
	c.SetVersions(versions)
	if k.options.SASL == nil {
		return nil
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("port %q: %w", port, err)
	}
	if err := logIn(sasl.WithMetadata(ctx, &sasl.Metadata{Host: host, Port: n}), c, k.options.SASL); err != nil {
		return fmt.Errorf("login: %w", closedEarly(err))
	}
	return nil
}

func logIn(ctx context.Context, c *brokerConn, mechanism sasl.Mechanism) error {
	m, err := c.RoundTrip(&saslhandshake.Request{Mechanism: mechanism.Name()})
	if err != nil {
		return err
	}
	if code := m.(*saslhandshake.Response).ErrorCode; code != 0 {
		return kafka.Error(code)
	}
	exchange, message, err := mechanism.Start(ctx)
	for done := false; err == nil && !done; {
		if m, err = c.RoundTrip(&saslauthenticate.Request{AuthBytes: message}); err != nil {
			return err
		}
		answer := m.(*saslauthenticate.Response)
		if answer.ErrorCode != 0 {
			return kafka.Error(answer.ErrorCode) // without the broker's words, which may repeat what was sent
		}
		done, message, err = exchange.Next(ctx, answer.AuthBytes)
	}
	return err
}

// closedEarly says what it means that a broker hangs up on somebody who has only just begun to speak.
func closedEarly(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the broker closed the connection, as one does that expects TLS or a login: %w", err)
	}
	return err
}
