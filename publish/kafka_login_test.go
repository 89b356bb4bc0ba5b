package publish_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish"
	shiftsync "github.com/slotsync/slotsync/sync"
)

// startLocked starts a broker that ann may enter, with each mechanism under the same password.
func startLocked(t *testing.T, more ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.EnableSASL(), kfake.SeedTopics(1, topic)}
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		opts = append(opts, kfake.User(mechanism, "ann", "hush-hush"))
	}
	c, err := kfake.NewCluster(append(opts, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// loggedIn returns a client that logs in as it is told.
func loggedIn(t *testing.T, c *kfake.Cluster, login *publish.Login, o publish.KafkaOptions) *publish.Kafka {
	t.Helper()
	o.Login = login
	k, err := publish.NewKafka(c.ListenAddrs(), topic, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func annsLogin(t *testing.T, mechanism string, password func() (string, error)) *publish.Login {
	t.Helper()
	login, err := publish.PasswordLogin(mechanism, "ann", password)
	if err != nil {
		t.Fatal(err)
	}
	return login
}

func always(text string) func() (string, error) { return func() (string, error) { return text, nil } }

func TestEachMechanismLogsIn(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			c := startLocked(t)
			k := loggedIn(t, c, annsLogin(t, mechanism, always("hush-hush")), publish.KafkaOptions{})
			if _, err := k.ClusterID(t.Context()); err != nil {
				t.Errorf("the right password: %v", err)
			}
			if _, err := k.Topic(t.Context()); err != nil {
				t.Errorf("the right password: %v", err)
			}
			k = loggedIn(t, c, annsLogin(t, mechanism, always("shout")), publish.KafkaOptions{Limit: 3 * time.Second})
			_, err := k.ClusterID(t.Context())
			wantSaid(t, err, mechanism, "KAFKA_USERNAME and KAFKA_PASSWORD")
		})
	}
	if _, err := publish.PasswordLogin("GSSAPI", "ann", always("hush-hush")); err == nil {
		t.Error("GSSAPI: got no error")
	}
}

// wantSaid looks for words in an error, which must not give away what was sent.
func wantSaid(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want %q", words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("got %q, want it to say %q", err, word)
		}
	}
	for _, secret := range []string{"hush", "shout", "token-", "\n"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q has %q in it", err, secret)
		}
	}
}

func TestARefusedLoginIsNotTriedAgainUntilTheNextQuestion(t *testing.T) {
	t.Parallel()
	c := startLocked(t)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SASLAuthenticate}, Err: kerr.SaslAuthenticationFailed, Count: -1})
	var dialed atomic.Int32
	k := loggedIn(t, c, annsLogin(t, "PLAIN", always("hush-hush")), publish.KafkaOptions{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}})
	for ask, do := range map[string]func() error{
		"cluster id": func() error { _, err := k.ClusterID(t.Context()); return err },
		"topic":      func() error { _, err := k.Topic(t.Context()); return err },
		"begin":      func() error { return k.Begin(t.Context(), true) },
	} {
		before, began := dialed.Load(), time.Now()
		err := do()
		wantSaid(t, err, "kafka: ", "refused the login with PLAIN: look at KAFKA_USERNAME and KAFKA_PASSWORD")
		if !errors.Is(err, kafka.SASLAuthenticationFailed) {
			t.Errorf("%s: got %v, want the broker's code in it", ask, err)
		}
		if took, tried := time.Since(began), dialed.Load()-before; took > 4*time.Second || tried > 2 {
			t.Errorf("%s: %d tries in %s, want one at once", ask, tried, took)
		}
	}
}

// Left alone, the library knocks every second for as long as the process lives.
func TestNobodyKnocksBetweenQuestionsWhereItWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialed atomic.Int32
		k, err := publish.NewKafka([]string{"one:9093"}, topic, publish.KafkaOptions{Dial: func(context.Context, string, string) (net.Conn, error) {
			dialed.Add(1)
			return nil, x509.UnknownAuthorityError{}
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		if _, err := k.Topic(t.Context()); !errors.As(err, &x509.UnknownAuthorityError{}) {
			t.Errorf("got %v", err)
		}
		<-time.After(time.Minute)
		if n := dialed.Load(); n != 1 {
			t.Errorf("dialed %d times within a minute of one question, want once", n)
		}
	})
}

// The broker's epoch, layout and connections are there already, as after hours of work.
func TestALoginThatIsRefusedLaterEndsAPublishAtOnceAndUnsent(t *testing.T) {
	t.Parallel()
	c := startLocked(t)
	k := loggedIn(t, c, annsLogin(t, "SCRAM-SHA-256", always("hush-hush")), publish.KafkaOptions{})
	if err := k.Begin(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	k.Rest()
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SASLAuthenticate}, Err: kerr.SaslAuthenticationFailed, Count: -1})
	began := time.Now()
	outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("one"))
	wantSaid(t, err, "refused the login with SCRAM-SHA-256")
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %s", took)
	}
	if got := outcomes[0].Fate; got != shiftsync.Unsent {
		t.Errorf("got fate %v, want unsent", got)
	}
}

// misnamed starts two brokers with certificates, of which the second is not the one that it says it is, and a client that
// begins at the first. It returns the address of the second, and what moves the partitions to brokers.
func misnamed(t *testing.T) (c *kfake.Cluster, k *publish.Kafka, second string, lead func(by ...int32)) {
	t.Helper()
	known := httptest.NewTLSServer(http.NotFoundHandler()) // lends its certificate, which is for 127.0.0.1 and example.com
	defer known.Close()
	trusting := known.Client().Transport.(*http.Transport).TLSClientConfig
	c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.TLS(&tls.Config{Certificates: known.TLS.Certificates}), kfake.SeedTopics(4, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	addrs := c.ListenAddrs()
	k, err = publish.NewKafka(addrs[:1], topic, publish.KafkaOptions{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		name := map[string]string{addrs[0]: "example.com", addrs[1]: "elsewhere.example"}[address]
		return (&tls.Dialer{Config: &tls.Config{RootCAs: trusting.RootCAs, ServerName: name}}).DialContext(ctx, network, address)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return c, k, addrs[1], func(by ...int32) {
		t.Helper()
		for p, broker := range by {
			if err := c.MoveTopicPartition(topic, int32(p), broker); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The library makes -1 of all that goes wrong on the way to one of several brokers.
func TestAnAdvertisedNameThatIsNotInTheCertificateIsSaid(t *testing.T) {
	t.Parallel()
	for claim, leaders := range map[string][]int32{"some partitions": {0, 1, 0, 1}, "all partitions": {1, 1, 1, 1}} {
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			_, k, second, lead := misnamed(t)
			lead(leaders...)
			began := time.Now()
			_, err := k.Topic(t.Context())
			wantSaid(t, err, "log end of partition ", " at "+second, "not elsewhere.example")
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestABrokerThatIsNotAskedAnyMoreIsNotBlamed(t *testing.T) {
	t.Parallel()
	c, k, second, lead := misnamed(t)
	lead(0, 1, 0, 1)
	_, err := k.Topic(t.Context())
	wantSaid(t, err, second)
	lead(0, 0, 0, 0)
	k.Rest() // and learns who leads
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.UnknownServerError, Count: 1})
	if _, err := k.Topic(t.Context()); err != nil {
		t.Errorf("got %v, want another try, since the broker's error passes", err)
	}
}

func TestWhatABrokerSaysOfLogEndsIsSaidWithItsName(t *testing.T) {
	t.Parallel()
	c := startLocked(t)
	k := loggedIn(t, c, annsLogin(t, "PLAIN", always("hush-hush")), publish.KafkaOptions{Limit: time.Second})
	c.ControlKey(kmsg.ListOffsets.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, errors.New("hangs up"), true
	})
	_, err := k.Topic(t.Context())
	wantSaid(t, err, "log end", " at "+c.ListenAddrs()[0]+": ")
}

func TestAMechanismThatIsNotOfferedIsSaid(t *testing.T) {
	t.Parallel()
	c := startLocked(t)
	login := publish.OAuthLogin(publish.OAuth{TokenURL: tokenServer(t, nil).URL, ClientID: "id", Secret: always("hush-hush")})
	_, err := loggedIn(t, c, login, publish.KafkaOptions{}).ClusterID(t.Context())
	wantSaid(t, err, "offers PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 on this listener, but not OAUTHBEARER", "KAFKA_SASL_MECHANISM")
}

func TestAPasswordIsAskedForWithEachConnection(t *testing.T) {
	t.Parallel()
	c := startLocked(t)
	var password atomic.Value
	password.Store("hush-hush")
	k := loggedIn(t, c, annsLogin(t, "PLAIN", func() (string, error) {
		if p := password.Load().(string); p != "" {
			return p, nil
		}
		return "", errors.New("KAFKA_PASSWORD_FILE names an empty file")
	}), publish.KafkaOptions{Limit: 3 * time.Second})
	ask := func() error { _, err := k.ClusterID(t.Context()); return err } // and rests
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	password.Store("shout")
	wantSaid(t, ask(), "KAFKA_PASSWORD")
	password.Store("")
	wantSaid(t, ask(), "KAFKA_PASSWORD_FILE names an empty file")
	password.Store("hush-hush")
	if err := ask(); err != nil {
		t.Errorf("after the file was mended: %v", err)
	}
}

func TestConnectionsAreReplacedBeforeTheirSessionEnds(t *testing.T) {
	t.Parallel()
	const lasts = 4 * time.Second
	fake := startLocked(t, kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": fmt.Sprint(lasts.Milliseconds())}))
	var dialed atomic.Int32
	late := make(chan time.Duration, 1)
	k := loggedIn(t, fake, annsLogin(t, "PLAIN", always("hush-hush")), publish.KafkaOptions{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed.Add(1)
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &agedConn{Conn: c, since: time.Now(), lasts: lasts, late: late}, err
	}})
	if err := k.Begin(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	first := dialed.Load()
	for n := 0; dialed.Load() < 3*first; n++ {
		if n == 10_000 {
			t.Fatalf("%d passes, and no connection was replaced three times", n)
		}
		outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions(fmt.Sprint(n)))
		if err != nil || outcomes[0].Offset != int64(n) {
			t.Fatalf("record %d: got offset %d, %v", n, outcomes[0].Offset, err)
		}
		select {
		case age := <-late:
			t.Fatalf("a connection whose session lasts %s was written to after %s", lasts, age)
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// agedConn tells when it is used past its time.
type agedConn struct {
	net.Conn
	since time.Time
	lasts time.Duration
	late  chan<- time.Duration
}

func (c *agedConn) Write(p []byte) (int, error) {
	if age := time.Since(c.since); age > c.lasts {
		select {
		case c.late <- age:
		default:
		}
	}
	return c.Conn.Write(p)
}

// tokenServer hands out tokens that live for ten minutes, numbered, to whoever names the secret; nil: always hush-hush.
func tokenServer(t *testing.T, secret func() string) *httptest.Server {
	t.Helper()
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, given, _ := r.BasicAuth()
		want := "hush-hush"
		if secret != nil {
			want = secret()
		}
		w.Header().Set("Content-Type", "application/json")
		if given != want || r.FormValue("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"not %s but hush-hush"}`, given)
			return
		}
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":600,"scope":%q}`, n.Add(1), r.FormValue("scope"))
	}))
	t.Cleanup(s.Close)
	return s
}

// bearers makes a broker take OAUTHBEARER, which the embedded one does not know, and notes what it was told. A token
// for which refuses says yes is refused as real brokers do it: with a reason, and after that is acknowledged with a code.
func bearers(t *testing.T, refuses func(message string) bool) (c *kfake.Cluster, told func() []string) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var mu sync.Mutex // guards messages
	var messages []string
	c.ControlKey(kmsg.SASLHandshake.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return req.ResponseKind(), nil, true
	})
	c.ControlKey(kmsg.SASLAuthenticate.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		message := string(req.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)
		res := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		switch {
		case message == "\x01":
			res.ErrorCode = kerr.SaslAuthenticationFailed.Code
			return res, nil, true
		case refuses != nil && refuses(message):
			res.SASLAuthBytes = []byte(`{"status":"invalid_token"}`)
		}
		mu.Lock()
		defer mu.Unlock()
		messages = append(messages, message)
		return res, nil, true
	})
	return c, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return messages
	}
}

func TestOAuthTellsTheBrokerTokenAndExtensions(t *testing.T) {
	t.Parallel()
	c, told := bearers(t, nil)
	login := publish.OAuthLogin(publish.OAuth{
		TokenURL: tokenServer(t, nil).URL, ClientID: "id", Secret: always("hush-hush"),
		Extensions: map[string]string{"logicalCluster": "lkc-1", "identityPoolId": "pool-1"},
	})
	k := loggedIn(t, c, login, publish.KafkaOptions{})
	if _, err := k.Topic(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := told()
	const want = "n,,\x01auth=Bearer token-1\x01identityPoolId=pool-1\x01logicalCluster=lkc-1\x01\x01"
	for _, message := range got {
		if message != want {
			t.Errorf("got %q, want %q each time: a token serves many connections", message, want)
		}
	}
	if len(got) < 2 {
		t.Errorf("got %d logins, want one for the cluster and one for its broker", len(got))
	}
}

func TestATokenServesForHalfOfItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		login := publish.OAuthLogin(publish.OAuth{
			TokenURL: "http://idp/token", ClientID: "id", Secret: always("hush-hush"),
			HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				n++
				w := httptest.NewRecorder()
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"access_token":"token-%d","expires_in":600}`, n)
				return w.Result(), nil
			})},
		})
		for _, c := range []struct {
			wait time.Duration
			want string
		}{{0, "token-1"}, {4 * time.Minute, "token-1"}, {2 * time.Minute, "token-2"}, {4 * time.Minute, "token-2"}} {
			<-time.After(c.wait)
			if got, err := publish.TokenOf(t.Context(), login, "kafka"); err != nil || got != c.want {
				t.Errorf("after %s more: got %q, %v, want %q", c.wait, got, err, c.want)
			}
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestARefusedTokenIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	c, told := bearers(t, func(message string) bool { return strings.Contains(message, "token-1\x01") })
	var secret atomic.Value
	secret.Store("hush-hush")
	now := func() string { return secret.Load().(string) }
	login := publish.OAuthLogin(publish.OAuth{TokenURL: tokenServer(t, now).URL, ClientID: "id", Secret: func() (string, error) { return now(), nil }})
	k := loggedIn(t, c, login, publish.KafkaOptions{})
	_, err := k.ClusterID(t.Context())
	wantSaid(t, err, "refused the login with OAUTHBEARER", "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL")
	secret.Store("hush-two") // of another client, since the refusal of this one holds for a while
	if _, err := k.ClusterID(t.Context()); err != nil {
		t.Errorf("the next login: %v, having told %q", err, told())
	}
}

func TestATokenEndpointThatRefusesIsNamed(t *testing.T) {
	t.Parallel()
	c, _ := bearers(t, nil)
	for _, try := range []struct {
		claim string
		serve http.HandlerFunc
		says  string
	}{
		{"a wrong secret", nil, "gives no token (401 Unauthorized, invalid_client): look at KAFKA_SASL_OAUTHBEARER_CLIENT_ID, _CLIENT_SECRET"},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>shout</html>") }, "gives no token"},
		{"an answer without a token", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{}`)
		}, "token"},
		{"not a word", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		s := tokenServer(t, nil)
		if try.serve != nil {
			s.Config.Handler = try.serve
		}
		login := publish.OAuthLogin(publish.OAuth{TokenURL: s.URL + "/token", ClientID: "id", Secret: always("shout")})
		_, err := loggedIn(t, c, login, publish.KafkaOptions{}).ClusterID(t.Context())
		wantSaid(t, err, "login with OAUTHBEARER", s.URL+"/token", try.says)
	}
}

// Each secret is one that is written in documentation. The signatures are those of Amazon's library in Python.
func TestIAMSignsAsAmazonDoes(t *testing.T) {
	nowhere := t.TempDir() + "/none"
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
	} {
		t.Setenv(name, value)
	}
	for _, c := range []struct {
		claim, set, host, usual, session string
		signature                        string
	}{
		{claim: "long-lived keys", set: "eu-west-1", host: "kafka", signature: "490759e66ee912e60f83ae332c4c67ffdc77b9a531c072d6ac8ba3bfce59bbff"},
		{claim: "a session", set: "eu-west-1", host: "kafka", session: "SESSION/TOKEN+with=signs", signature: "fdb5aa0cf4e9b619d01112dd3acf5d840070219a0125b0cdd2045e211a102d8a"},
		{claim: "the region of the broker", host: "b-1.x.y.c2.kafka.eu-west-1.amazonaws.com", usual: "us-east-1", signature: "490759e66ee912e60f83ae332c4c67ffdc77b9a531c072d6ac8ba3bfce59bbff"},
		{claim: "the region of a serverless cluster", host: "boot-x.c2.kafka-serverless.eu-west-1.amazonaws.com", signature: "490759e66ee912e60f83ae332c4c67ffdc77b9a531c072d6ac8ba3bfce59bbff"},
		{claim: "the region of this machine", host: "kafka.internal", usual: "eu-west-1", signature: "490759e66ee912e60f83ae332c4c67ffdc77b9a531c072d6ac8ba3bfce59bbff"},
		{claim: "no region", host: "kafka.internal"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			t.Setenv("AWS_SESSION_TOKEN", c.session)
			t.Setenv("AWS_REGION", c.usual)
			synctest.Test(t, func(t *testing.T) { // begins at midnight of 2000-01-01, UTC
				token, err := publish.TokenOf(t.Context(), publish.AWSLogin(c.set), c.host)
				if c.signature == "" {
					wantSaid(t, err, "KAFKA_AWS_REGION")
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				text, err := base64.RawURLEncoding.DecodeString(token)
				if err != nil {
					t.Fatal(err)
				}
				signed, err := url.Parse(string(text))
				if err != nil {
					t.Fatal(err)
				}
				got := signed.Query()
				if signed.Host != "kafka.eu-west-1.amazonaws.com" || got.Get("Action") != "kafka-cluster:Connect" ||
					got.Get("X-Amz-Date") != "20000101T000000Z" || got.Get("X-Amz-Security-Token") != c.session {
					t.Errorf("got %s", text)
				}
				if got.Get("X-Amz-Signature") != c.signature {
					t.Errorf("got signature %s, want %s", got.Get("X-Amz-Signature"), c.signature)
				}
			})
		})
	}
}

func TestIAMWithoutCredentialsSaysSo(t *testing.T) {
	nowhere := t.TempDir() + "/none"
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
	} {
		t.Setenv(name, value)
	}
	c, _ := bearers(t, nil)
	_, err := loggedIn(t, c, publish.AWSLogin("eu-west-1"), publish.KafkaOptions{}).ClusterID(t.Context())
	wantSaid(t, err, "login with AWS_MSK_IAM: no AWS credentials", "AWS_ACCESS_KEY_ID")
}
