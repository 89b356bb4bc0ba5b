package publish_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go/protocol/saslauthenticate"

	"github.com/slotsync/slotsync/publish"
)

func TestALoginThatIsSlowIsNotTakenForAWrongAddress(t *testing.T) {
	t.Parallel()
	hangs := func([]byte) *saslauthenticate.Response { return nil }
	slow := func(d time.Duration, then func([]byte) *saslauthenticate.Response) func([]byte) *saslauthenticate.Response {
		return func(sent []byte) *saslauthenticate.Response {
			<-time.After(d)
			return then(sent)
		}
	}
	oauth := func(t *testing.T) *publish.Login {
		return publish.OAuthLogin(publish.OAuth{
			TokenURL: "http://idp/token", ClientID: "id", Secret: always("shout"),
			HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})},
		})
	}
	password := func(t *testing.T) *publish.Login { return annsLogin(t, "PLAIN", always("hush-hush")) }
	for _, c := range []struct {
		claim  string
		broker func([]byte) *saslauthenticate.Response
		login  func(t *testing.T) *publish.Login
		says   string // empty: it works
		within time.Duration
	}{
		{"a broker that never answers", hangs, password, "login with PLAIN: no answer of the broker within 4.5s", 8 * time.Second},
		{"a token endpoint that never answers", letIn, oauth, "login with OAUTHBEARER: no answer of http://idp/token within 2.5s", 8 * time.Second},
		{"a broker that says no after four seconds", slow(4*time.Second, lockOut), password, "refused the login with PLAIN: look at KAFKA_USERNAME", 5 * time.Second},
		{"a broker that lets in after four seconds", slow(4*time.Second, letIn), password, "", 5 * time.Second},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &pipedBroker{login: c.broker}
				k := b.behind(t, c.login(t))
				defer k.Close()
				began := time.Now()
				_, err := k.ClusterID(t.Context())
				if c.says != "" {
					wantSaid(t, err, c.says)
					if err != nil && strings.Contains(err.Error(), "KAFKA_BROKERS") {
						t.Errorf("%q doubts KAFKA_BROKERS", err)
					}
				} else if err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > c.within {
					t.Errorf("it took %s, want %s at most", took, c.within)
				}
			})
		})
	}
}
