package publish_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slotsync/slotsync/publish"
)

// refusal is an error of a proxy that says no.
type refusal struct{}

func (refusal) Error() string { return "the proxy refuses" }

func (refusal) Is(target error) bool { return target == publish.ErrRefused }

// A question every ten seconds, as by passes.
func TestWhatIsRefusedOnTheWayToATokenIsNotTriedWithEachPass(t *testing.T) {
	t.Parallel()
	const often = "[0s 30s 1m0s 1m30s 2m0s 2m30s 3m0s 3m30s 4m0s 4m30s]"
	for _, c := range []struct {
		claim string
		err   error
		want  string // when it is asked
	}{
		{"a certificate that is not trusted", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, often},
		{"a certificate for another name", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "idp"}, often},
		{"no certificate of ours", &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, often},
		{"no TLS", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, often},
		{"a proxy's password", refusal{}, "[0s 30s 1m30s 3m30s]"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var asked []time.Duration
				away := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
					asked = append(asked, time.Since(began).Round(10*time.Second))
					return nil, c.err
				})}
				b := &pipedBroker{login: letIn}
				k := b.behind(t, publish.OAuthLogin(publish.OAuth{TokenURL: "https://idp/token", ClientID: "id", Secret: always("shout"), HTTP: away}))
				defer k.Close()
				told := map[string]bool{}
				for time.Since(began) < 5*time.Minute {
					_, err := k.ClusterID(t.Context())
					wantSaid(t, err, "login with OAUTHBEARER: https://idp/token: "+c.err.Error())
					told[err.Error()] = true
					<-time.After(10 * time.Second)
				}
				if got := fmt.Sprint(asked); got != c.want {
					t.Errorf("asked after %s, want %s", got, c.want)
				}
				if len(told) != 1 {
					t.Errorf("told in %d ways, want always the same: %v", len(told), told)
				}
			})
		})
	}
}

func TestAnEndpointThatIsAwayIsAskedAgainAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		away := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			asked++
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		})}
		b := &pipedBroker{login: letIn}
		k := b.behind(t, publish.OAuthLogin(publish.OAuth{TokenURL: "https://idp/token", ClientID: "id", Secret: always("shout"), HTTP: away}))
		defer k.Close()
		_, err := k.ClusterID(t.Context())
		wantSaid(t, err, "connection refused")
		if asked < 3 {
			t.Errorf("asked %d times within a question, want more: it may have just restarted", asked)
		}
	})
}

func TestScopeAndAudienceAreAskedForInEachWayToShowAClient(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		claim          string
		scopes         []string
		audience, want string // what the endpoint is asked
	}{
		{"both", []string{"a", "b"}, "https://kafka", "audience=https%3A%2F%2Fkafka&grant_type=client_credentials&scope=a+b"},
		{"neither", nil, "", "grant_type=client_credentials"},
	} {
		var asked []string
		answer := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			_ = r.ParseForm()
			w := httptest.NewRecorder()
			w.Header().Set("Content-Type", "application/json")
			if r.Form.Get("client_secret") == "" { // it takes them in the body only
				w.WriteHeader(http.StatusUnauthorized)
			}
			r.Form.Del("client_id")
			r.Form.Del("client_secret")
			asked = append(asked, r.Form.Encode())
			fmt.Fprint(w, `{"access_token":"token-1","expires_in":600}`)
			return w.Result(), nil
		})}
		login := publish.OAuthLogin(publish.OAuth{
			TokenURL: "https://idp/token", ClientID: "id", Secret: always("shout"), Scopes: c.scopes, Audience: c.audience, HTTP: answer,
		})
		if _, err := publish.TokenOf(t.Context(), login, "kafka"); err != nil {
			t.Errorf("%s: %v", c.claim, err)
		}
		if want := []string{c.want, c.want}; !slices.Equal(asked, want) {
			t.Errorf("%s: asked %q, want %q", c.claim, asked, want)
		}
	}
}
