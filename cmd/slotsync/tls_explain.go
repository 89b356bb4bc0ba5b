package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// explained is a connection whose server may still complain of the handshake: with TLS 1.3 that comes in the place of its
// first answer.
type explained struct {
	*tls.Conn
	files   tlsFiles
	address string // host:port of the server
}

func (e *explained) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	return n, e.inWords(err)
}

// Write looks, when the server has hung up, for what it said before.
func (e *explained) Write(p []byte) (int, error) {
	n, err := e.Conn.Write(p)
	if err == nil {
		return n, nil
	}
	_ = e.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, said := e.Conn.Read(make([]byte, 1))
	if told := e.inWords(said); told != said {
		return n, told
	}
	return n, err
}

// inWords explains a complaint and leaves any other error as it is. What it returns unwraps to a list: the Redis library
// takes one wrapping off each error of a new connection.
func (e *explained) inWords(err error) error {
	if told := e.files.explainAlert(err); told != err {
		return errors.Join(fmt.Errorf("tls with %s: %w", e.address, told))
	}
	return err
}

// explain says in words, with the setting to look at, why a handshake failed. It leaves any other error as it is.
func (f tlsFiles) explain(err error) error {
	var (
		unknown *x509.UnknownAuthorityError
		byValue x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		plain   tls.RecordHeaderError
		network net.Error
	)
	switch {
	case errors.As(err, &unknown), errors.As(err, &byValue):
		if f.ca.given() {
			return fmt.Errorf("the server's certificate is not signed by an authority in %s: %w", f.caSetting, err)
		}
		return fmt.Errorf("the server's certificate is signed by an authority that is not known here: give that authority's certificate in %s: %w", f.caSetting, err)
	case errors.As(err, &name):
		return fmt.Errorf("the server's certificate is for %s, not for %s: reach it by a name in it%s: %w", namesIn(name.Certificate), name.Host, f.named, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		what := "has expired, on " + invalid.Cert.NotAfter.UTC().Format(time.RFC3339) + ": it has to be renewed"
		if time.Now().Before(invalid.Cert.NotBefore) {
			what = "is not valid before " + invalid.Cert.NotBefore.UTC().Format(time.RFC3339) + ": is the clock of this machine right?"
		}
		return fmt.Errorf("the server's certificate %s: %w", what, err)
	case errors.As(err, &plain):
		return fmt.Errorf("the server does not speak TLS on this port%s: %w", f.noTLS, err)
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	}
	return f.explainAlert(err)
}

// namesIn returns the first names that a certificate is for.
func namesIn(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const enough = 3
	switch more := len(names) - enough; {
	case len(names) == 0:
		return "no name at all"
	case more > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:enough], ", "), more)
	}
	return strings.Join(names, ", ")
}

// explainAlert does the same for what the server complained of, which has no type, only words.
func (f tlsFiles) explainAlert(err error) error {
	if err == nil || !strings.Contains(err.Error(), "remote error: tls: ") {
		return err
	}
	cert, text := f.certSetting, err.Error()
	required := strings.Contains(text, "certificate required")
	switch {
	case f.cert.given() && required:
		return fmt.Errorf("the server does not accept the certificate in %s: no authority that it names has signed it, give one of theirs: %w", cert, err)
	case required, !f.cert.given() && (strings.Contains(text, "bad certificate") || strings.Contains(text, "handshake failure")):
		if cert == "" {
			return fmt.Errorf("the server wants a certificate of its clients, and slotsync has none for it: let it do without one: %w", err)
		}
		return fmt.Errorf("the server wants a certificate of its clients: set %s, and its key: %w", cert, err)
	case f.cert.given() && strings.Contains(text, "expired certificate"):
		return fmt.Errorf("the server says that the certificate in %s has expired: renew it, if its clock is right: %w", cert, err)
	case f.cert.given() && (strings.Contains(text, "certificate") || strings.Contains(text, "handshake failure")):
		return fmt.Errorf("the server does not accept the certificate in %s%s: %w", cert, f.suspicion(), err)
	case strings.Contains(text, "protocol version"):
		return fmt.Errorf("the server has no TLS 1.2 or newer: %w", err)
	}
	return err
}

// suspicion says what may be wrong with our certificate, and what to do. Not every server tells.
func (f tlsFiles) suspicion() string {
	if pair, err := f.pair(); err == nil && time.Now().After(pair.Leaf.NotAfter) {
		return ", which has expired, on " + pair.Leaf.NotAfter.UTC().Format(time.RFC3339) + ": renew it"
	}
	return ": let the server trust the authority that has signed it, or give another one"
}
