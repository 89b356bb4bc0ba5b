package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/cmd/mini/world"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newKey(t)
	a := &authority{key: key}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "an authority"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.PEM = block("CERTIFICATE", der)
	return a
}

// sign returns a certificate for hosts, which ends when it says, and its key.
func (a *authority) sign(t *testing.T, name string, ends time.Time, hosts ...string) (certPEM, keyPEM string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: ends,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", private)
}

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t *testing.T) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWhatSecuresKafkaHasToGoTogether(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.sign(t, "slotsync", tomorrow())
	_, other := a.sign(t, "slotsync", tomorrow())
	ca := file(t, a.PEM)
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
		{"all in PEM", env{"KAFKA_TLS": "true", "KAFKA_TLS_CA": a.PEM, "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY": key}, ""},
		{"PEM in one line", env{"KAFKA_TLS": "true", "KAFKA_TLS_CA": strings.ReplaceAll(a.PEM, "\n", `\n`)}, ""},
		{"a key in a file of its own", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY_FILE": file(t, key)}, ""},
		{"an authority without TLS", env{"KAFKA_TLS_CA": ca}, "KAFKA_TLS_CA *KAFKA_TLS is not true"},
		{"all of it with TLS switched off", env{"KAFKA_TLS": "false", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY": key, "KAFKA_TLS_SERVER_NAME": "kafka"},
			"KAFKA_TLS_CERT *KAFKA_TLS is not true|KAFKA_TLS_KEY *KAFKA_TLS is not true|KAFKA_TLS_SERVER_NAME *KAFKA_TLS is not true"},
		{"a certificate without its key", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": cert}, "KAFKA_TLS_KEY *KAFKA_TLS_CERT needs its key"},
		{"a key without its certificate", env{"KAFKA_TLS": "true", "KAFKA_TLS_KEY": key}, "KAFKA_TLS_CERT *KAFKA_TLS_KEY is the key of no certificate"},
		{"another's key", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY": other}, "KAFKA_TLS_CERT and KAFKA_TLS_KEY *do not go together"},
		{"swapped", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": key, "KAFKA_TLS_KEY": cert}, "KAFKA_TLS_CERT *no certificate"},
		{"a certificate as the key", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY": cert}, "KAFKA_TLS_KEY *no private key"},
		{"an encrypted key", env{"KAFKA_TLS": "true", "KAFKA_TLS_CERT": cert, "KAFKA_TLS_KEY": block("ENCRYPTED PRIVATE KEY", []byte("x"))}, "KAFKA_TLS_KEY *openssl pkey"},
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

func with(e env, name, value string) env {
	out := env{name: value}
	for k, v := range e {
		if k != name {
			out[k] = v
		}
	}
	return out
}

func TestAKeyIsNoFlag(t *testing.T) {
	_, key := newAuthority(t).sign(t, "slotsync", tomorrow())
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
	_, key := newAuthority(t).sign(t, "slotsync", tomorrow())
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
	a := newAuthority(t)
	locked, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, world.Topic), kfake.EnableSASL(), kfake.User("SCRAM-SHA-512", "ann", "hush-hush"),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pairFor(t, a, tomorrow(), "127.0.0.1")}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(locked.Close)
	w := start(t, world.Options{Shifts: 40})
	password := file(t, "hush-hush\n")
	settings := env{
		"KAFKA_BROKERS": strings.Join(locked.ListenAddrs(), ","), "KAFKA_TLS": "true", "KAFKA_TLS_CA": a.PEM,
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

func TestTheTokenEndpointIsVerifiedToo(t *testing.T) {
	a := newAuthority(t)
	idp := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/token", http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"a-token","expires_in":600}`)
	}))
	idp.TLS = &tls.Config{Certificates: []tls.Certificate{pairFor(t, a, tomorrow(), "127.0.0.1")}}
	idp.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	idp.StartTLS()
	t.Cleanup(idp.Close)
	w := start(t, world.Options{Shifts: 20})
	// The embedded broker does not know the mechanism.
	for _, key := range []kmsg.Key{kmsg.SASLHandshake, kmsg.SASLAuthenticate} {
		w.Kafka.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.Kafka.KeepControl()
			if login, is := req.(*kmsg.SASLAuthenticateRequest); is && !strings.Contains(string(login.SASLAuthBytes), "auth=Bearer a-token") {
				return nil, errors.New("another token"), true
			}
			return req.ResponseKind(), nil, true
		})
	}
	for _, c := range []struct {
		claim, path, ca string
		says            string
	}{
		{"its authority", "/token", a.PEM, ""},
		{"an unknown authority", "/token", "", "KAFKA_SASL_OAUTHBEARER_TLS_CA"},
		{"a redirect, which would take the secret elsewhere", "/moved", a.PEM, "gives no token (307 Temporary Redirect)"},
	} {
		settings := env{
			"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": idp.URL + c.path,
			"KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "id", "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": "hush-hush",
			"KAFKA_SASL_OAUTHBEARER_TLS_CA": c.ca,
		}
		_, code, log := once(t, w, settings)
		if (code == 0) != (c.says == "") || !strings.Contains(log, c.says) {
			t.Errorf("%s: got exit %d, want %q in\n%s", c.claim, code, c.says, log)
		}
	}
}
