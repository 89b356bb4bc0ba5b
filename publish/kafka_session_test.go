package publish_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
)

// Some brokers, and what stands before them, refuse a token by hanging up.
func TestATokenAtWhichABrokerHangsUpIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var status, asked atomic.Int32
		status.Store(http.StatusOK)
		b := &pipedBroker{login: letIn}
		k := b.behind(t, publish.OAuthLogin(publish.OAuth{TokenURL: "http://idp/token", ClientID: "id", Secret: always("shout"), HTTP: tokenEndpoint(&status, &asked)}))
		defer k.Close()
		if _, err := k.ClusterID(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.login = func(sent []byte) *saslauthenticate.Response {
			if strings.Contains(string(sent), "token-1\x01") {
				return hangUp
			}
			return letIn(sent)
		}
		if _, err := k.ClusterID(t.Context()); err != nil {
			t.Errorf("after it hung up at the token that was kept: %v, having asked for %d tokens", err, asked.Load())
		}
	})
}

// The broker begins to count before its answer comes.
func TestASessionIsCountedFromWhenItWasAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ lasts, answers, want time.Duration }{
		{time.Minute, 0, time.Minute},
		{time.Minute, 3 * time.Second, 57 * time.Second},
		{time.Second, 3 * time.Second, time.Millisecond}, // over before it began
		{0, 3 * time.Second, 0},                          // without end
	} {
		t.Run(fmt.Sprintf("%s, answered after %s", c.lasts, c.answers), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &pipedBroker{login: func([]byte) *saslauthenticate.Response {
					<-time.After(c.answers)
					return &saslauthenticate.Response{SessionLifetimeMs: c.lasts.Milliseconds()}
				}}
				conn, _ := b.dial(t.Context(), "tcp", "kafka:9092")
				defer conn.Close()
				if got, err := publish.SessionOf(t.Context(), annsLogin(t, "PLAIN", always("hush-hush")), conn); got != c.want || err != nil {
					t.Errorf("got %s, %v, want %s", got, err, c.want)
				}
			})
		})
	}
}

// A worker has some connections, each of which logs in.
func TestLoginsThatAreRefusedTogetherAreHeldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &pipedBroker{login: func(sent []byte) *saslauthenticate.Response {
			<-time.After(2 * time.Second)
			return lockOut(sent)
		}}
		login := annsLogin(t, "PLAIN", always("shout"))
		logIn := func() {
			conn, _ := b.dial(t.Context(), "tcp", "kafka:9092")
			defer conn.Close()
			_, err := publish.SessionOf(t.Context(), login, conn)
			wantSaid(t, err, "refused the login with PLAIN")
		}
		var some sync.WaitGroup
		for range 3 {
			some.Go(logIn)
		}
		some.Wait()
		if n := b.tried(); n != 3 {
			t.Fatalf("shown %d times, want 3 at the same time", n)
		}
		logIn()
		if n := b.tried(); n != 0 {
			t.Errorf("shown %d times right after it was refused, want never", n)
		}
		<-time.After(31 * time.Second)
		logIn()
		if n := b.tried(); n != 1 {
			t.Errorf("shown %d times half a minute later, want once", n)
		}
	})
}

// Whoever waits for an answer over a connection that was to be replaced keeps it for so long.
func TestAConnectionThatOutlivesItsUseDoesNotHaveTheOthersReplacedAgainAndAgain(t *testing.T) {
	t.Parallel()
	const lasts = 2 * time.Second
	c := startLocked(t, kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": fmt.Sprint(lasts.Milliseconds())}))
	proxy := publishtest.NewProxy()
	t.Cleanup(proxy.Close)
	var dialed atomic.Int32
	k := loggedIn(t, c, annsLogin(t, "PLAIN", always("hush-hush")), publish.KafkaOptions{Attempt: time.Minute, Limit: time.Minute,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialed.Add(1)
			return proxy.Dial(ctx, network, address)
		}})
	if err := k.Begin(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	held := proxy.Catch(publishtest.Answer, int16(kmsg.Produce), 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := k.Publish(t.Context(), &right{}, "pass", versions("a")); err != nil {
			t.Errorf("publish: %v", err)
		}
	}()
	within(t, "answer held back", held.Caught())
	<-time.After(lasts * 7 / 10)
	ask := func() int32 {
		t.Helper()
		if _, err := k.Topic(t.Context()); err != nil {
			t.Fatal(err)
		}
		return dialed.Load()
	}
	before, began := ask(), time.Now() // all that were open are replaced
	const questions = 20
	for range questions {
		ask()
	}
	// On a slow machine the new ones come to the end of their use meanwhile, too.
	ends := int32(time.Since(began)/(lasts*3/5)) + 1
	if n := dialed.Load() - before; n > ends*before {
		t.Errorf("dialed %d times for %d questions in %s, want to go on with what is open", n, questions, time.Since(began))
	}
	held.Release()
	within(t, "publish", done)
}
