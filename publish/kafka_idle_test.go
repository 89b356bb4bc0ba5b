package publish_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish"
)

// cutConns dials, and can cut all that it has dialed, as a broker does that restarts.
type cutConns struct {
	mu    sync.Mutex // guards what follows
	conns []net.Conn
	n     int // dialed since the last cut
}

func (c *cutConns) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cutConns) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns, c.n = nil, 0
}

func (c *cutConns) dialed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// The library comes back for news of the cluster every second or two, whether anybody asks or not.
func TestALoginThatIsRefusedBetweenTwoPassesIsTriedOnce(t *testing.T) {
	t.Parallel()
	c := startLocked(t)
	conns := &cutConns{}
	k := loggedIn(t, c, annsLogin(t, "SCRAM-SHA-256", always("hush-hush")), publish.KafkaOptions{Dial: conns.dial})
	if err := k.Begin(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, k, versions("one"))
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SASLAuthenticate}, Err: kerr.SaslAuthenticationFailed, Count: -1})
	conns.cut()
	<-time.After(10 * time.Second)
	if n := conns.dialed(); n > 1 {
		t.Errorf("dialed %d times in ten seconds in which nobody asked for anything, want once at most", n)
	}
	_, err := k.Topic(t.Context())
	wantSaid(t, err, "refused the login with SCRAM-SHA-256")
}

func TestAnIdleWorkerUsesNoSessionToItsEnd(t *testing.T) {
	t.Parallel()
	const lasts = 3 * time.Second
	c := startLocked(t, kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": fmt.Sprint(lasts.Milliseconds())}))
	late := make(chan time.Duration, 1)
	k := loggedIn(t, c, annsLogin(t, "PLAIN", always("hush-hush")), publish.KafkaOptions{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &agedConn{Conn: conn, since: time.Now(), lasts: lasts * 4 / 5, late: late}, err
	}})
	if err := k.Begin(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, k, versions("one"))
	select {
	case age := <-late:
		t.Errorf("a connection was written to %s after its login, which lasts %s", age, lasts)
	case <-time.After(2*lasts + 2*time.Second):
	}
	mustPublish(t, k, versions("two"))
}
