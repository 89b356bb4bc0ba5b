package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// speak starts a server that greets over TLS, and answers a byte with one.
func speak(t *testing.T, config *tls.Config) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	return serveBytes(t, l)
}

func serveBytes(t *testing.T, l net.Listener) (address string) {
	t.Helper()
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.CopyN(c, c, 1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-served
	})
	return l.Addr().String()
}

// pemFrom is what a setting of that name says.
func pemFrom(t *testing.T, setting, text string) pemSource {
	t.Helper()
	p, err := parsePEM(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.setting = setting
	return p
}

// visit connects and waits for an answer.
func visit(t *testing.T, f tlsFiles, address string) error {
	t.Helper()
	c, err := f.dial(t.Context(), "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

func TestWhatIsWrongWithTLSIsSaidInWords(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t, "an authority"), newAuthority(t, "an authority")
	good := pairFor(t, a, tomorrow(), "127.0.0.1", "localhost")
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	ca := pemFrom(t, "KAFKA_TLS_CA", read(t, a.path))
	cert, key := a.signed("slotsync", tomorrow())
	otherCert, otherKey := stranger.signed("slotsync", tomorrow())
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asks := func(version uint16) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MaxVersion: version}
	}
	for _, c := range []struct {
		claim   string
		address string
		files   tlsFiles
		says    string // empty: it works
	}{
		{"trusted", speak(t, &tls.Config{Certificates: []tls.Certificate{good}}), tlsFiles{ca: ca}, ""},
		{"no authority", speak(t, &tls.Config{Certificates: []tls.Certificate{good}}), tlsFiles{}, "give that authority's certificate in KAFKA_TLS_CA"},
		{"another authority", speak(t, &tls.Config{Certificates: []tls.Certificate{good}}), tlsFiles{ca: pemFrom(t, "KAFKA_TLS_CA", read(t, stranger.path))}, "not signed by an authority in KAFKA_TLS_CA"},
		{"another name", speak(t, &tls.Config{Certificates: []tls.Certificate{pairFor(t, a, tomorrow(), "a", "b", "c", "10.0.0.1")}}), tlsFiles{ca: ca}, "for a, b, c and 1 more, not for 127.0.0.1"},
		{"another address", speak(t, &tls.Config{Certificates: []tls.Certificate{pairFor(t, a, tomorrow(), "10.0.0.1")}}), tlsFiles{ca: ca}, "for 10.0.0.1, not for 127.0.0.1"},
		{"a name that is set", speak(t, &tls.Config{Certificates: []tls.Certificate{pairFor(t, a, tomorrow(), "kafka")}}), tlsFiles{ca: ca, serverName: "kafka"}, ""},
		{"expired", speak(t, &tls.Config{Certificates: []tls.Certificate{pairFor(t, a, time.Now().Add(-time.Minute), "127.0.0.1")}}), tlsFiles{ca: ca}, "has expired, on 20"},
		{"TLS 1.1", speak(t, &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), tlsFiles{ca: ca}, "no TLS 1.2 or newer"},
		{"no TLS", serveBytes(t, plain), tlsFiles{ca: ca}, "TLS on this port"},
		{"our certificate", speak(t, asks(0)), tlsFiles{ca: ca, cert: pemFrom(t, "KAFKA_TLS_CERT", cert), key: pemFrom(t, "KAFKA_TLS_KEY", key)}, ""},
		{"no certificate of ours", speak(t, asks(0)), tlsFiles{ca: ca}, "wants a certificate of its clients: set KAFKA_TLS_CERT"},
		{"no certificate of ours, TLS 1.2", speak(t, asks(tls.VersionTLS12)), tlsFiles{ca: ca}, "wants a certificate of its clients: set KAFKA_TLS_CERT"},
		{"a certificate of another's", speak(t, asks(0)), tlsFiles{ca: ca, cert: pemFrom(t, "KAFKA_TLS_CERT", otherCert), key: pemFrom(t, "KAFKA_TLS_KEY", otherKey)}, "KAFKA_TLS_CERT"},
	} {
		c.files.caSetting, c.files.certSetting = "KAFKA_TLS_CA", "KAFKA_TLS_CERT"
		err := visit(t, c.files, c.address)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.claim, err, c.says)
		}
	}
}

// pairFor is a certificate for hosts that an authority has signed, and its key.
func pairFor(t *testing.T, a *authority, ends time.Time, hosts ...string) tls.Certificate {
	t.Helper()
	cert, key := a.signed("server", ends, hosts...)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestFilesAreReadAnewForEachConnection(t *testing.T) {
	t.Parallel()
	before, after := newAuthority(t, "an authority"), newAuthority(t, "an authority")
	clients := x509.NewCertPool()
	clients.AddCert(after.cert)
	address := speak(t, &tls.Config{
		Certificates: []tls.Certificate{pairFor(t, after, tomorrow(), "127.0.0.1")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients,
	})
	oldCert, oldKey := before.signed("slotsync", tomorrow())
	newCert, newKey := after.signed("slotsync", tomorrow())
	ca, cert, key := file(t, read(t, before.path)), file(t, oldCert), file(t, oldKey)
	f := tlsFiles{
		caSetting: "KAFKA_TLS_CA", certSetting: "KAFKA_TLS_CERT", ca: pemFrom(t, "KAFKA_TLS_CA", ca),
		cert: pemFrom(t, "KAFKA_TLS_CERT", cert), key: pemFrom(t, "KAFKA_TLS_KEY", key),
	}
	wantSays := func(says string) {
		t.Helper()
		if err := visit(t, f, address); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	wantSays("KAFKA_TLS_CA")
	replace(t, ca, read(t, after.path))
	wantSays("KAFKA_TLS_CERT")
	replace(t, cert, newCert)
	wantSays("KAFKA_TLS_CERT and KAFKA_TLS_KEY do not go together")
	replace(t, key, newKey)
	wantSays("")
}

func TestAPortThatIsMuteToAHandshakeIsToldFromOneThatIsAway(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes connections
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = tlsFiles{noTLS: " (KAFKA_TLS)"}.dial(ctx, "tcp", mute.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "no answer to the handshake, as from a port without TLS (KAFKA_TLS)") || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// The bundle of a system's authorities is some 220 KiB.
func TestAFileOfPEMMayHoldAllAuthoritiesThereAre(t *testing.T) {
	one, other := read(t, newAuthority(t, "one").path), read(t, newAuthority(t, "other").path)
	bundle := func(bytes int) string { return file(t, strings.Repeat(one, bytes/len(one)+1)+other) }
	secure := env{"KAFKA_TLS": "true", "REDIS_HOST": "rediss://host", "AVLIZER_CONFLUENT_SCHEMAREGISTRY_URL": "https://host"}
	for _, setting := range []string{"KAFKA_TLS_CA", "REDIS_TLS_CA", "SCHEMA_REGISTRY_TLS_CA"} {
		cfg := loadOK(t, minimal(with(secure, setting, bundle(1<<20))))
		if len(cfg.warnings) > 0 {
			t.Errorf("%s: got warnings %q", setting, cfg.warnings)
		}
		_, err := load(nil, minimal(with(secure, setting, bundle(4<<20))).get, io.Discard)
		if err == nil || !strings.HasPrefix(err.Error(), setting+" ") || !strings.Contains(err.Error(), "larger than 4096 KiB") {
			t.Errorf("%s: got %v, want a refusal of what is above 4 MiB", setting, err)
		}
	}
}
