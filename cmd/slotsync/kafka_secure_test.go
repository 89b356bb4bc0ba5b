package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// signed returns a certificate for hosts, which ends when it says, and its key, as texts in PEM.
func (a *authority) signed(name string, ends time.Time, hosts ...string) (cert, key string) {
	a.t.Helper()
	p := a.sign(name, time.Until(ends), hosts...)
	return read(a.t, p.cert), read(a.t, p.key)
}

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

func TestWhatSecuresKafkaHasToGoTogether(t *testing.T) {
	a := newAuthority(t, "an authority")
	cert, key := a.signed("slotsync", tomorrow())
	_, other := a.signed("slotsync", tomorrow())
	ca := file(t, read(t, a.path))
	oauth := env{
		"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_TLS": "true", "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "https://idp/token",
		"KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "id", "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": "hunter2",
	}
	for _, c := range []struct {
		claim string
		env   env
		want  string // that each fault begins with and, behind a *, has in it, with | between faults; empty: none
	}{
		{"TLS alone", env{"KAFKA_TLS": "true"}, ""},
		{"own authority and certificate", env{"KAFKA_TLS": "true", "KAFKA_TLS_CA": ca, "KAFKA_TLS_CERT": file(t, cert), "KAFKA_TLS_KEY": file(t, key)}, ""},
		{"all in PEM", env{"KAFKA_TLS": "true", "KAFKA_TLS_CA": read(t, a.path), "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY": key}, ""},
		{"PEM in one line", env{"KAFKA_TLS": "true", "KAFKA_TLS_CA": strings.ReplaceAll(read(t, a.path), "\n", `\n`)}, ""},
		{"a key in a file of its own", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY_FILE": file(t, key)}, ""},
		{"an authority without TLS", env{"KAFKA_TLS_CA": ca}, "KAFKA_TLS_CA *KAFKA_TLS is not true"},
		{"all of it with TLS switched off", env{"KAFKA_TLS": "false", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY": key, "KAFKA_TLS_SERVER_NAME": "kafka"},
			"KAFKA_TLS_CERT *KAFKA_TLS is not true|KAFKA_TLS_KEY *KAFKA_TLS is not true|KAFKA_TLS_SERVER_NAME *KAFKA_TLS is not true"},
		{"a certificate without its key", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": cert}, "KAFKA_TLS_KEY *KAFKA_TLS_CERT needs its key"},
		{"a key without its certificate", env{"KAFKA_TLS": "true", "KAFKA_TLS_KEY": key}, "KAFKA_TLS_CERT *KAFKA_TLS_KEY is the key of no certificate"},
		{"another's key", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY": other}, "KAFKA_TLS_CERT and KAFKA_TLS_KEY *do not go together"},
		{"swapped", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": key, "KAFKA_TLS_KEY": cert}, "KAFKA_TLS_CERT *no certificate"},
		{"a certificate as the key", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY": cert}, "KAFKA_TLS_KEY *no private key"},
		{"an encrypted key", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY": "-----BEGIN ENCRYPTED PRIVATE KEY-----\neA==\n-----END ENCRYPTED PRIVATE KEY-----\n"}, "KAFKA_TLS_KEY *openssl pkey"},
		{"no authority in its file", env{"KAFKA_TLS": "true", "KAFKA_TLS_CA": file(t, "nothing\n")}, "KAFKA_TLS_CA *holds no certificate"},
		{"files that are not there", env{"KAFKA_TLS": "true", "KAFKA_TLS_CA": "/does/not/exist", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY_FILE": "/nor/does/this"},
			"KAFKA_TLS_KEY_FILE *cannot be read|KAFKA_TLS_CA *cannot be read: /does/not/exist"},
		{"a server name with a port", env{"KAFKA_TLS": "true", "KAFKA_TLS_SERVER_NAME": "kafka:9093"}, "KAFKA_TLS_SERVER_NAME *without a port"},

		{"SCRAM", env{"KAFKA_SASL_MECHANISM": "scram-sha-512", "KAFKA_USERNAME": "u", "KAFKA_PASSWORD": "hunter2"}, ""},
		{"an unknown mechanism", env{"KAFKA_SASL_MECHANISM": "GSSAPI", "KAFKA_USERNAME": "u", "KAFKA_PASSWORD": "hunter2"}, "KAFKA_SASL_MECHANISM *SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM, not"},
		{"a mechanism alone", env{"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_TLS": "true"}, "KAFKA_USERNAME *PLAIN needs the user|KAFKA_PASSWORD *PLAIN needs"},
		{"no user", env{"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_TLS": "true", "KAFKA_PASSWORD": "hunter2"}, "KAFKA_USERNAME *PLAIN needs the user"},
		{"no mechanism", env{"KAFKA_USERNAME": "u", "KAFKA_PASSWORD": "hunter2"}, "KAFKA_USERNAME *KAFKA_SASL_MECHANISM is not|KAFKA_PASSWORD *KAFKA_SASL_MECHANISM is not"},
		{"OAuth", oauth, ""},
		{"OAuth alone", env{"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_TLS": "true"},
			"KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL *needs the URL|KAFKA_SASL_OAUTHBEARER_CLIENT_ID *needs the client id|KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET *needs the client's secret"},
		{"OAuth and a password", with(oauth, "KAFKA_PASSWORD", "hunter2"), "KAFKA_PASSWORD *does not go with"},
		{"OAuth with scope and audience", with(oauth, "KAFKA_SASL_OAUTHBEARER_SCOPE", "a b", "KAFKA_SASL_OAUTHBEARER_AUDIENCE", "https://kafka"), ""},
		{"an audience without OAuth", env{"KAFKA_SASL_OAUTHBEARER_AUDIENCE": "kafka"}, "KAFKA_SASL_OAUTHBEARER_AUDIENCE *set it to OAUTHBEARER"},
		{"an extension that is none", with(oauth, "KAFKA_SASL_OAUTHBEARER_EXTENSIONS", "a=1,hunter2"), "KAFKA_SASL_OAUTHBEARER_EXTENSIONS *element 2"},
		{"an extension that would be a token", with(oauth, "KAFKA_SASL_OAUTHBEARER_EXTENSIONS", "auth=hunter2"), "KAFKA_SASL_OAUTHBEARER_EXTENSIONS *element 1"},
		{"IAM", env{"KAFKA_SASL_MECHANISM": "AWS_MSK_IAM", "KAFKA_TLS": "true", "KAFKA_AWS_REGION": "eu-west-1"}, ""},
		{"IAM in the clear", env{"KAFKA_SASL_MECHANISM": "AWS_MSK_IAM", "KAFKA_BROKERS": "b:9098"}, "KAFKA_TLS *over TLS only"},
		{"IAM and a user", env{"KAFKA_SASL_MECHANISM": "AWS_MSK_IAM", "KAFKA_TLS": "true", "KAFKA_USERNAME": "u"}, "KAFKA_USERNAME *does not go with"},
		{"a region without IAM", env{"KAFKA_AWS_REGION": "eu-west-1"}, "KAFKA_AWS_REGION *set it to AWS_MSK_IAM"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			cfg, err := load(nil, minimal(c.env).get, new(bytes.Buffer))
			if c.want == "" {
				if err != nil {
					t.Fatalf("got %v", err)
				}
				if _, err := cfg.kafkaLogin(); err != nil {
					t.Errorf("login: %v", err)
				}
				return
			}
			var usage *usageError
			if !errors.As(err, &usage) {
				t.Fatalf("got %v, want a usage error", err)
			}
			got, want := strings.Split(err.Error(), "\n"), strings.Split(c.want, "|")
			if len(got) != len(want) {
				t.Fatalf("got %d faults, want %d:\n%v", len(got), len(want), err)
			}
			for i := range want {
				begin, within, _ := strings.Cut(want[i], "*")
				if !strings.HasPrefix(got[i], begin) || !strings.Contains(got[i], within) {
					t.Errorf("got %q, want one that begins with %q and says %q", got[i], begin, within)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "-----BEGIN") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestAKeyIsNoFlag(t *testing.T) {
	_, key := newAuthority(t, "an authority").signed("slotsync", tomorrow())
	_, err := load([]string{"--kafka-tls", "--kafka-tls-cert=c.pem", "--kafka-tls-key=" + key}, minimal(env{}).get, new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), "--kafka-tls-key") || !strings.Contains(err.Error(), "list of processes") || strings.Contains(err.Error(), "BEGIN") {
		t.Errorf("got %v", err)
	}
}

func TestACredentialInTheClearIsWarnedOfLoudly(t *testing.T) {
	for _, c := range []struct {
		claim    string
		env      env
		warnings int
	}{
		{"PLAIN without TLS", env{"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_BROKERS": "kafka:9092"}, 1},
		{"PLAIN without TLS on this machine", env{"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_BROKERS": "localhost:9092,127.0.0.1:9093"}, 0},
		{"PLAIN with TLS", env{"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_BROKERS": "kafka:9092", "KAFKA_TLS": "true"}, 0},
		{"SCRAM without TLS", env{"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256", "KAFKA_BROKERS": "kafka:9092"}, 0},
	} {
		cfg := loadOK(t, minimal(with(with(c.env, "KAFKA_USERNAME", "u"), "KAFKA_PASSWORD", "p")))
		if len(cfg.warnings) != c.warnings || c.warnings > 0 && !strings.Contains(cfg.warnings[0], "READ BY ANYBODY") {
			t.Errorf("%s: got warnings %q, want %d", c.claim, cfg.warnings, c.warnings)
		}
	}
}

func TestNoKeyIsPrinted(t *testing.T) {
	_, key := newAuthority(t, "an authority").signed("slotsync", tomorrow())
	source, err := parsePEM(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, source); strings.Contains(got, "BEGIN") {
			t.Errorf("%s: got %s", verb, got)
		}
	}
}

// Each command that asks Kafka meets a broker that wants TLS and a login.
func TestEveryCommandComesInTheSameWay(t *testing.T) {
	a := newAuthority(t, "an authority")
	locked, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, world.Topic), kfake.EnableSASL(), kfake.User("SCRAM-SHA-512", "ann", "hush-hush"),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pairFor(t, a, tomorrow(), "127.0.0.1")}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(locked.Close)
	w := start(t, world.Options{Shifts: 40})
	password := file(t, "hush-hush\n")
	settings := env{
		"KAFKA_BROKERS": strings.Join(locked.ListenAddrs(), ","), "KAFKA_TLS": "true", "KAFKA_TLS_CA": read(t, a.path),
		"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_USERNAME": "ann", "KAFKA_PASSWORD_FILE": password,
	}
	commands := [][]string{
		{"--once"}, {"--once", "--dry-run"}, {"--republish", "all", "--yes"}, {"check", "--json"}, {"tail", "--no-follow", "-n", "1"},
	}
	for _, args := range commands {
		if out, log, code := call(t, w, settings, args...); code != 0 {
			t.Errorf("%s: got exit %d\n%s%s", args, code, out, log)
		}
	}
	locked.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SASLAuthenticate}, Err: kerr.SaslAuthenticationFailed, Count: -1})
	for _, args := range commands {
		out, log, code := call(t, w, settings, args...)
		if code != 1 || !strings.Contains(out+log, "refused the login with SCRAM-SHA-512: look at KAFKA_USERNAME and KAFKA_PASSWORD") || strings.Contains(out+log, "hush") {
			t.Errorf("%s: got exit %d\n%s%s", args, code, out, log)
		}
	}
}

// tokenWorld is a world whose broker takes the token that an endpoint with that certificate hands out.
func tokenWorld(t *testing.T, pair tls.Certificate) (*world.World, *httptest.Server) {
	t.Helper()
	idp := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/token", http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"a-token","expires_in":600}`)
	}))
	idp.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	idp.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	return oauthWorld(t), secured(t, idp)
}

func secured(t *testing.T, s *httptest.Server) *httptest.Server {
	t.Helper()
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// oauthWorld is a world whose broker takes a-token. The embedded one does not know the mechanism.
func oauthWorld(t *testing.T) *world.World {
	t.Helper()
	w := start(t, world.Options{Shifts: 20})
	for _, key := range []kmsg.Key{kmsg.SASLHandshake, kmsg.SASLAuthenticate} {
		w.Kafka.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.Kafka.KeepControl()
			if login, is := req.(*kmsg.SASLAuthenticateRequest); is && !strings.Contains(string(login.SASLAuthBytes), "auth=Bearer a-token") {
				return nil, errors.New("another token"), true
			}
			return req.ResponseKind(), nil, true
		})
	}
	return w
}

func tokenSettings(at, ca string) env {
	return env{
		"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": at,
		"KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "id", "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": hush,
		"KAFKA_SASL_OAUTHBEARER_TLS_CA": ca,
	}
}

func TestTheTokenEndpointIsVerifiedToo(t *testing.T) {
	a := newAuthority(t, "an authority")
	w, idp := tokenWorld(t, pairFor(t, a, tomorrow(), "127.0.0.1"))
	for _, c := range []struct {
		claim, path, ca string
		says            string
	}{
		{"its authority", "/token", read(t, a.path), ""},
		{"an unknown authority", "/token", "", "KAFKA_SASL_OAUTHBEARER_TLS_CA"},
		{"a redirect, which would take the secret elsewhere", "/moved", read(t, a.path), "gives no token (307 Temporary Redirect)"},
	} {
		_, code, log := once(t, w, tokenSettings(idp.URL+c.path, c.ca))
		if (code == 0) != (c.says == "") || !strings.Contains(log, c.says) {
			t.Errorf("%s: got exit %d, want %q in\n%s", c.claim, code, c.says, log)
		}
	}
}

// There is no setting for a certificate of ours to show there.
func TestATokenEndpointThatWantsACertificateIsToldSo(t *testing.T) {
	a := newAuthority(t, "an authority")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		idp := httptest.NewUnstartedServer(nil)
		idp.TLS = &tls.Config{
			Certificates: []tls.Certificate{pairFor(t, a, tomorrow(), "127.0.0.1")},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: a.pool(), MaxVersion: version,
		}
		idp.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
		at := secured(t, idp).URL
		res, err := loadOK(t, minimal(with(tokenSettings(at, a.path), "KAFKA_TLS", "true"))).tokenClient().Get(at)
		if err == nil {
			res.Body.Close()
		}
		if told := fmt.Sprint(err); !strings.Contains(told, "the server wants a certificate of its clients, and slotsync has none for it") || strings.Contains(told, "_TLS_CERT") {
			t.Errorf("%s: got %s", tls.VersionName(version), told)
		}
	}
}
