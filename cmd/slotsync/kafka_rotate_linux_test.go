package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cmd/mini/world"
	"github.com/slotsync/slotsync/publish/publishtest"
)

// set changes settings of the broker while it runs.
func (k *lockedKafka) set(t *testing.T, settings map[string]string) {
	t.Helper()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	for name, value := range settings {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op, c.Value = name, kmsg.IncrementalAlterConfigOpSet, &value
		r.Configs = append(r.Configs, c)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, r)
	res, err := req.RequestWith(t.Context(), k.admin)
	if err == nil {
		err = kerr.ErrorForCode(res.Resources[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("change settings: %v", err)
	}
}

// atWork is the program as a process of its own, which keeps a topic of a real broker in step while secrets change.
type atWork struct {
	*process
	w     *world.World
	k     *lockedKafka
	topic string
}

func (k *lockedKafka) employ(t *testing.T, topic, listener string, settings env) *atWork {
	t.Helper()
	w := start(t, world.Options{Shifts: 100})
	all := env{
		"KAFKA_BROKERS": k.addrs[listener], "KAFKA_TOPIC_NAME": k.topic(t, topic), "KAFKA_TLS": "true",
		"SYNC_SLEEP_PERIOD_SECONDS": "0", "WIW_RATE": "6000", "LOG_LEVEL": "debug",
	}
	maps.Copy(all, settings)
	return &atWork{launchIn(t, w, all), w, k, topic}
}

// more waits until something was published, and all is in step.
func (a *atWork) more(t *testing.T) {
	t.Helper()
	a.w.API.Churn(20)
	a.until(t, good, strings.Count(a.String(), good)+2) // the first may have begun before
}

// renew has the worker make new connections, as after any hour of work.
func (a *atWork) renew() {
	unlease(a.w)
	a.w.API.Churn(5)
}

// finish stops the worker, and fails unless the topic has each change, once.
func (a *atWork) finish(t *testing.T, secrets ...string) {
	t.Helper()
	a.more(t)
	a.more(t)
	a.signal(t, syscall.SIGTERM)
	if code := a.exit(t, time.Minute); code != 0 {
		t.Errorf("got exit %d\n%s", code, a)
	}
	messages, err := publishtest.ReadAll(t.Context(), []string{a.k.addrs["ADMIN"]}, a.topic)
	if err != nil {
		t.Fatal(err)
	}
	records := decoded(t, a.w.Registry.URL(), messages, nil)
	saysWhatIsTrue(t, records, truth(a.w))
	eachOnce(t, records)
	for _, secret := range secrets {
		if strings.Contains(a.all(), secret) {
			t.Errorf("a secret is in\n%s", a)
		}
	}
	t.Logf("%d records, none lost, none repeated; %d passes, %d failed", len(records), strings.Count(a.String(), good), strings.Count(a.String(), bad))
}

// shortTokens hands out tokens that live for seconds, to whoever shows the secret that it wants.
type shortTokens struct {
	idp   *idp
	lasts time.Duration

	mu    sync.Mutex // guards what follows
	wants string
	given int // since it wants that
}

func (s *shortTokens) want(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wants, s.given = secret, 0
}

func (s *shortTokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if _, secret, _ := r.BasicAuth(); secret != s.wants {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
		return
	}
	s.given++
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": s.idp.token("kafka", s.lasts), "token_type": "Bearer", "expires_in": s.lasts.Seconds(),
	})
}

func TestNothingIsLostOrRepeatedWhenWhatLetsIntoKafkaIsReplaced(t *testing.T) {
	k := startLockedKafka(t)
	ca := file(t, read(t, k.authority.path))
	t.Run("each", func(t *testing.T) { // returns when all that are parallel have ended
		t.Run("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET_FILE", func(t *testing.T) {
			t.Parallel()
			tokens := &shortTokens{idp: k.idp, lasts: 10 * time.Second, wants: firstSecret}
			endpoint := httptest.NewServer(tokens)
			t.Cleanup(endpoint.Close)
			secret := file(t, firstSecret+"\n")
			settings := with(tokenSettings(endpoint.URL, ""), "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", "", "KAFKA_TLS_CA", ca,
				"KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET_FILE", secret, "SYNC_SLEEP_PERIOD_SECONDS", "1")
			a := k.employ(t, "client-secret", "LOCKED", settings)
			a.more(t)
			for began := time.Now(); time.Since(began) < 2*tokens.lasts; {
				a.more(t)
			}
			if n := strings.Count(a.String(), bad); n > 0 {
				t.Errorf("%d passes failed while nothing was wrong\n%s", n, a)
			}
			tokens.want(thenSecret)
			a.until(t, "gives no token (401 Unauthorized, invalid_client): look at KAFKA_SASL_OAUTHBEARER_CLIENT_ID, _CLIENT_SECRET", 1)
			a.w.API.Churn(20)
			replace(t, secret, thenSecret+"\n")
			a.finish(t, firstSecret, thenSecret)
			if tokens.given == 0 {
				t.Errorf("no token was given for the new secret")
			}
			if strings.Contains(k.log.String(), expired) {
				t.Error("the broker cut a connection whose session had ended")
			}
		})
		t.Run("KAFKA_TLS_CA, KAFKA_TLS_CERT and KAFKA_TLS_KEY_FILE", func(t *testing.T) {
			t.Parallel()
			after := newAuthority(t, "after")
			ours, theirs := k.authority.sign("slotsync", 24*time.Hour), after.sign("slotsync", 24*time.Hour)
			ca, cert, key := file(t, read(t, k.authority.path)), file(t, read(t, ours.cert)), file(t, read(t, ours.key))
			a := k.employ(t, "certificates", "MTLS", env{"KAFKA_TLS_CA": ca, "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY_FILE": key})
			a.more(t)
			server := after.sign("kafka", 24*time.Hour, "127.0.0.1")
			k.set(t, map[string]string{
				"listener.name.mtls.ssl.keystore.location":   file(t, read(t, server.key)+read(t, server.cert)),
				"listener.name.mtls.ssl.truststore.location": after.path,
			})
			for _, step := range []struct{ says, path, now string }{
				{"not signed by an authority in KAFKA_TLS_CA", ca, after.path},
				{"does not accept the certificate in KAFKA_TLS_CERT", cert, theirs.cert},
				{"KAFKA_TLS_CERT and KAFKA_TLS_KEY_FILE do not go together", key, theirs.key},
			} {
				a.renew()
				a.until(t, step.says, 1)
				replace(t, step.path, read(t, step.now))
			}
			a.finish(t)
		})
		t.Run("KAFKA_PASSWORD_FILE", func(t *testing.T) {
			t.Parallel()
			k.grant(t, granted(t, "password"))
			password := file(t, clerksPassword+"\n")
			a := k.employ(t, "password", "LOCKED", env{
				"KAFKA_TLS_CA": ca, "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_USERNAME": "clerk", "KAFKA_PASSWORD_FILE": password,
			})
			a.more(t)
			k.setPassword(t, thenSecret)
			a.renew()
			a.until(t, "refused the login with SCRAM-SHA-512: look at KAFKA_USERNAME and KAFKA_PASSWORD", 1)
			replace(t, password, thenSecret+"\n")
			a.finish(t, clerksPassword, thenSecret)
		})
	})
}
