package publish_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"

	"github.com/slotsync/slotsync/publish"
)

func lockOut([]byte) *saslauthenticate.Response {
	return &saslauthenticate.Response{ErrorCode: int16(kafka.SASLAuthenticationFailed)}
}

func letIn([]byte) *saslauthenticate.Response { return &saslauthenticate.Response{} }

// Brokers that look up passwords in a directory lock the account after some that are wrong.
func TestARefusedPasswordIsShownOnceAndThenLessAndLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &pipedBroker{login: lockOut}
		k := b.behind(t, annsLogin(t, "PLAIN", always("shout")))
		defer k.Close()
		began := time.Now()
		var shown []time.Duration
		for time.Since(began) < time.Hour {
			_, err := k.ClusterID(t.Context())
			wantSaid(t, err, "refused the login with PLAIN")
			switch n := b.tried(); n {
			case 0:
			case 1:
				shown = append(shown, time.Since(began).Round(10*time.Second))
			default:
				t.Fatalf("shown %d times for one question, want once at most", n)
			}
			<-time.After(10 * time.Second)
		}
		const want = "[0s 30s 1m30s 3m30s 7m30s 15m30s 30m30s 45m30s]"
		if got := fmt.Sprint(shown); got != want {
			t.Errorf("shown after %s, want %s", got, want)
		}
	})
}

func TestAnotherPasswordIsShownAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &pipedBroker{login: lockOut}
		password := "shout"
		k := b.behind(t, annsLogin(t, "PLAIN", func() (string, error) { return password, nil }))
		defer k.Close()
		for _, password = range []string{"shout", "shouting"} {
			_, err := k.ClusterID(t.Context())
			wantSaid(t, err, "refused the login with PLAIN")
			if n := b.tried(); n != 1 {
				t.Errorf("shown %d times, want once", n)
			}
		}
		password, b.login = "hush-hush", letIn
		if _, err := k.ClusterID(t.Context()); err != nil {
			t.Errorf("the right one: %v", err)
		}
		for range 2 { // to be accepted begins anew, with the shortest hold
			b.login = lockOut
			b.tried()
			if _, err := k.ClusterID(t.Context()); err == nil || b.tried() != 1 {
				t.Error("the right one was not shown again after it had been accepted")
			}
			b.login = letIn
			<-time.After(31 * time.Second)
			if _, err := k.ClusterID(t.Context()); err != nil {
				t.Errorf("after the first hold: %v", err)
			}
		}
	})
}

// tokenEndpoint answers with status, which is 200 for a token, and counts.
func tokenEndpoint(status *atomic.Int32, asked *atomic.Int32) *http.Client {
	return &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "application/json")
		asked.Add(1)
		w.WriteHeader(int(status.Load()))
		fmt.Fprintf(w, `{"access_token":"token-%d","expires_in":600,"error":%q}`, asked.Load(), map[bool]string{true: "invalid_client"}[status.Load() != http.StatusOK])
		return w.Result(), nil
	})}
}

func TestARefusedClientIsNotShownToTheTokenEndpointAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var status, asked atomic.Int32
		status.Store(http.StatusUnauthorized)
		b := &pipedBroker{login: letIn}
		k := b.behind(t, publish.OAuthLogin(publish.OAuth{TokenURL: "http://idp/token", ClientID: "id", Secret: always("shout"), HTTP: tokenEndpoint(&status, &asked)}))
		defer k.Close()
		ask := func(want int32, words ...string) {
			t.Helper()
			asked.Store(0)
			switch _, err := k.ClusterID(t.Context()); {
			case len(words) > 0:
				wantSaid(t, err, words...)
			case err != nil:
				t.Error(err)
			}
			if got := asked.Load(); got != want {
				t.Errorf("asked %d times, want %d", got, want)
			}
		}
		ask(2, "gives no token (401 Unauthorized, invalid_client)") // once in each of the two ways to show a client
		ask(0, "gives no token (401 Unauthorized, invalid_client)")
		<-time.After(30 * time.Second)
		status.Store(http.StatusOK)
		ask(1)
		<-time.After(10 * time.Minute)
		status.Store(http.StatusUnauthorized)
		ask(1, "gives no token (401 Unauthorized, invalid_client)") // in the way that worked
		ask(0, "gives no token (401 Unauthorized, invalid_client)")
	})
}

// Keys of the issuer change, and tokens are withdrawn.
func TestATokenThatHasServedIsReplacedAtOnceWhenItIsRefused(t *testing.T) {
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
			if string(sent) == "n,,\x01auth=Bearer token-1\x01\x01" {
				return lockOut(sent)
			}
			return letIn(sent)
		}
		for range 2 {
			if _, err := k.ClusterID(t.Context()); err != nil {
				t.Logf("the token that was kept: %v", err)
			}
		}
		if _, err := k.ClusterID(t.Context()); err != nil {
			t.Errorf("a new token: %v", err)
		}
		b.login = lockOut
		b.tried()
		for range 5 {
			_, err := k.ClusterID(t.Context())
			wantSaid(t, err, "refused the login with OAUTHBEARER")
		}
		if n := b.tried(); n != 2 {
			t.Errorf("shown %d times, want the token that was kept and a new one", n)
		}
	})
}
