package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// pemSource is where certificates, or a key, in PEM come from: a text, or a file that may be replaced under way. The
// zero one is nothing.
type pemSource struct {
	setting string // that it is from
	path    string // of the file; empty: text holds it
	text    secret
}

// parsePEM tells a path from PEM. In a variable that has to be one line, \n stands for the ends of lines.
func parsePEM(text string, _ *kong.Tag) (pemSource, error) {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		return pemSource{}, errors.New("must be a path, or a text in PEM")
	case strings.Contains(trimmed, "-----BEGIN"):
		return pemSource{text: newSecret(strings.ReplaceAll(trimmed, `\n`, "\n"))}, nil
	}
	return pemSource{path: trimmed}, nil
}

func (p pemSource) given() bool { return p.path != "" || !p.text.Empty() }

// read returns the PEM as it is now.
func (p pemSource) read() ([]byte, error) {
	if p.path == "" {
		return []byte(p.text.Reveal()), nil
	}
	text, err := readBounded(p.path, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("%s %w", p.setting, err)
	}
	return []byte(text), nil
}

// tlsFiles say how to speak TLS with one kind of server. All files are read anew for each connection, so they can be
// replaced while the worker runs.
type tlsFiles struct {
	// Names for advice, also of what is not set. Without a certSetting, no certificate of ours can be given.
	caSetting, certSetting string

	ca        pemSource
	cert, key pemSource
	// serverName is the name in the certificate; empty: the host that is connected to.
	serverName string
	noTLS      string // what to look at if a server speaks none; empty: nothing is said
	named      string // what to look at if its certificate is for another name; empty: nothing is said
}

// config returns what a connection to host needs. Its errors begin with the name of the setting that is wrong.
func (f tlsFiles) config(host string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if f.serverName != "" {
		config.ServerName = f.serverName
	}
	var errs []error
	if f.ca.given() {
		roots, err := f.authorities()
		errs = append(errs, err)
		config.RootCAs = roots
	}
	if f.cert.given() {
		pair, err := f.pair()
		errs = append(errs, err)
		config.Certificates = []tls.Certificate{pair}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return config, nil
}

func (f tlsFiles) authorities() (*x509.CertPool, error) {
	text, err := f.ca.read()
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s holds a certificate that cannot be read: %w", f.ca.setting, err)
		}
		roots.AddCert(c)
	}
	if roots.Equal(x509.NewCertPool()) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", f.ca.setting)
	}
	return roots, nil
}

func (f tlsFiles) pair() (tls.Certificate, error) {
	var none tls.Certificate
	cert, err := f.cert.read()
	if err != nil {
		return none, err
	}
	key, err := f.key.read()
	if err != nil {
		return none, err
	}
	if !bytes.Contains(cert, []byte("-----BEGIN CERTIFICATE-----")) {
		return none, fmt.Errorf("%s holds no certificate in PEM", f.cert.setting)
	}
	switch block := keyBlock(key); {
	case block == nil:
		return none, fmt.Errorf("%s holds no private key in PEM", f.key.setting)
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return none, fmt.Errorf("%s holds an encrypted key: give one without a password (openssl pkey -in KEY -out PLAIN)", f.key.setting)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return none, fmt.Errorf("%s and %s do not go together: %w", f.cert.setting, f.key.setting, err)
	}
	return pair, nil
}

func keyBlock(text []byte) *pem.Block {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block
		}
	}
	return nil
}

// dial connects to host:port over TLS. Its errors, and those of the connection, are explained.
func (f tlsFiles) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	config, err := f.config(host)
	if err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			// Not the context's own error, which is taken for a server that does not answer at all.
			err = fmt.Errorf("no answer to the handshake, as from a port without TLS%s: %w", f.noTLS, os.ErrDeadlineExceeded)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
			err = fmt.Errorf("the server hung up, as one does that speaks no TLS on this port%s: %w", f.noTLS, err)
		}
		return nil, fmt.Errorf("tls with %s: %w", address, f.explain(err))
	}
	return &explained{conn, f, address}, nil
}

// checkTLS notes what is wrong with the three settings that f is made of.
func (l *loader) checkTLS(f tlsFiles, cert, key *pemSource) {
	switch {
	case f.cert.given() && !f.key.given():
		if !l.isWrong(key) {
			l.fault(key, "is not set: "+f.cert.setting+" needs its key")
		}
		f.cert = pemSource{}
	case f.key.given() && !f.cert.given():
		l.fault(cert, "is not set: "+f.key.setting+" is the key of no certificate")
	}
	if _, err := f.config("none"); err != nil {
		l.faults = append(l.faults, err)
	}
}
