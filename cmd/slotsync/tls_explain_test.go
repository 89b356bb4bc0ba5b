package main

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// With TLS 1.3 a handshake is over for us before the server has looked at our certificate. Then it complains and hangs up.
func TestAComplaintOfTheServerIsHeardByWhoReadsAndByWhoWrites(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	server := &tls.Config{
		Certificates: []tls.Certificate{pairFor(t, ours, tomorrow(), "127.0.0.1")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ours.pool(),
	}
	cert, key := others.signed("slotsync", tomorrow())
	oldCert, oldKey := ours.signed("slotsync", time.Now().Add(-time.Minute))
	base := tlsFiles{caSetting: "KAFKA_TLS_CA", certSetting: "KAFKA_TLS_CERT", ca: pemFrom(t, "KAFKA_TLS_CA", ours.path)}
	showing := func(cert, key string) tlsFiles {
		f := base
		f.cert, f.key = pemFrom(t, "KAFKA_TLS_CERT", cert), pemFrom(t, "KAFKA_TLS_KEY", key)
		return f
	}
	for _, c := range []struct {
		claim string
		files tlsFiles
		says  string
	}{
		{"no certificate", base, "the server wants a certificate of its clients: set KAFKA_TLS_CERT, and its key: "},
		{"a stranger's", showing(cert, key), "the server does not accept the certificate in KAFKA_TLS_CERT"},
		{"one that has expired", showing(oldCert, oldKey), "has expired"},
	} {
		for way, use := range map[string]func(net.Conn) error{
			"reads": func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
			"writes": func(c net.Conn) (err error) {
				for err == nil { // the first may still be taken
					_, err = c.Write([]byte{1})
				}
				return err
			},
		} {
			t.Run(c.claim+", and one "+way, func(t *testing.T) {
				t.Parallel()
				l, err := tls.Listen("tcp", "127.0.0.1:0", server)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				hungUp := make(chan error, 1)
				go func() {
					c, err := l.Accept()
					if err == nil {
						err = c.(*tls.Conn).Handshake()
						c.Close()
					}
					hungUp <- err
				}()
				conn, err := c.files.dial(t.Context(), "tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := <-hungUp; err == nil {
					t.Fatal("the server took it")
				}
				err = use(conn)
				if err == nil || !strings.HasPrefix(err.Error(), "tls with "+l.Addr().String()+": ") || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "remote error: tls: ") {
					t.Errorf("got %v, want %q", err, c.says)
				}
			})
		}
	}
}

// Java says of any certificate that it does not take that it is unknown.
func TestWhatMayBeWrongWithOurCertificateIsSaidWhereTheServerDoesNot(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t, "ours")
	for claim, c := range map[string]struct {
		ends time.Time
		says string
	}{
		"one that has expired": {time.Now().Add(-time.Minute), "the server does not accept the certificate in KAFKA_TLS_CERT, which has expired, on 20"},
		"one that has not":     {tomorrow(), "the server does not accept the certificate in KAFKA_TLS_CERT: let the server trust the authority that has signed it, or give another one: "},
	} {
		cert, key := ours.signed("slotsync", c.ends)
		f := tlsFiles{certSetting: "KAFKA_TLS_CERT", cert: pemFrom(t, "KAFKA_TLS_CERT", cert), key: pemFrom(t, "KAFKA_TLS_KEY", key)}
		unknown := errors.New("remote error: tls: unknown certificate")
		if err := f.explainAlert(unknown); !strings.HasPrefix(err.Error(), c.says) || !errors.Is(err, unknown) {
			t.Errorf("%s: got %v, want %q", claim, err, c.says)
		}
	}
}
