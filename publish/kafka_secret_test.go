package publish_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"

	"github.com/slotsync/slotsync/publish"
)

// Each secret stands in the very place that the error is about.
func TestNoErrorOfALoginQuotesASecret(t *testing.T) {
	t.Parallel()
	gone := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"hush-hush","error_description":"hush-hush"}`)
		return w.Result(), nil
	})}
	quoting := func(sent []byte) *saslauthenticate.Response {
		return &saslauthenticate.Response{ErrorCode: int16(kafka.SASLAuthenticationFailed), ErrorMessage: fmt.Sprintf("not %q", sent)}
	}
	for _, c := range []struct {
		claim string
		login func(t *testing.T) *publish.Login
		says  string
	}{
		{"the URL of the token endpoint", func(*testing.T) *publish.Login {
			return publish.OAuthLogin(publish.OAuth{TokenURL: "http://ann:hush-hush@idp/token?key=hush-hush", ClientID: "id", Secret: always("shout"), HTTP: gone})
		}, "http://idp/token gives no token (401 Unauthorized)"},
		{"an URL that cannot be read", func(*testing.T) *publish.Login {
			return publish.OAuthLogin(publish.OAuth{TokenURL: "http://ann:hush-hush@idp:port/token", ClientID: "id", Secret: always("shout"), HTTP: gone})
		}, "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL"},
		{"the broker's words", func(t *testing.T) *publish.Login { return annsLogin(t, "PLAIN", always("hush-hush")) }, "refused the login with PLAIN"},
		{"a password that SCRAM does not take", func(t *testing.T) *publish.Login { return annsLogin(t, "SCRAM-SHA-256", always("hush-\x07hush")) }, "has a character that SCRAM does not take"},
		{"a user that SCRAM does not take", func(t *testing.T) *publish.Login {
			login, err := publish.PasswordLogin("SCRAM-SHA-256", "hush-\x07hush", always("hush-hush"))
			if err != nil {
				t.Fatal(err)
			}
			return login
		}, "has a character that SCRAM does not take"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &pipedBroker{login: quoting}
				k := b.behind(t, c.login(t))
				defer k.Close()
				_, err := k.ClusterID(t.Context())
				wantSaid(t, err, c.says)
			})
		})
	}
}

func TestAConnectionEndsWithARefusedLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &pipedBroker{login: lockOut}
		k := b.behind(t, annsLogin(t, "PLAIN", always("shout")))
		defer k.Close()
		_, err := k.ClusterID(t.Context())
		wantSaid(t, err, "refused the login")
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.dialed) == 0 || b.open != 0 {
			t.Errorf("%d of %d connections are open", b.open, len(b.dialed))
		}
	})
}

func TestCredentialsOfAWSAreLookedForAgainWhenTheyAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(key string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = "+key+"\naws_secret_access_key = shout\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": file + "-none", "AWS_SHARED_CREDENTIALS_FILE": file, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	write("AKIDONE")
	synctest.Test(t, func(t *testing.T) {
		b := &pipedBroker{login: letIn}
		login := publish.AWSLogin("eu-west-1")
		k := b.behind(t, login)
		defer k.Close()
		if _, err := k.ClusterID(t.Context()); err != nil {
			t.Fatal(err)
		}
		write("AKIDTWO")
		b.login = lockOut
		_, err := k.ClusterID(t.Context())
		wantSaid(t, err, "refused the login with AWS_MSK_IAM", "clock")
		<-time.After(31 * time.Second)
		b.login = func(sent []byte) *saslauthenticate.Response {
			if !strings.Contains(decodedToken(t, sent), "AKIDTWO") {
				return lockOut(sent)
			}
			return letIn(sent)
		}
		if _, err := k.ClusterID(t.Context()); err != nil {
			t.Errorf("with the new credentials: %v", err)
		}
	})
}

// decodedToken is what a login with OAUTHBEARER of AWS says.
func decodedToken(t *testing.T, sent []byte) string {
	t.Helper()
	_, token, _ := strings.Cut(strings.TrimRight(string(sent), "\x01"), "auth=Bearer ")
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}
