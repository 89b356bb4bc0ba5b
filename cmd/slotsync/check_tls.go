package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// tlsAdvice says what to do about a TLS handshake that went wrong, with the settings <prefix>_TLS_CA, _CERT and _KEY and
// the one that says where the server is; "" if that is not what went wrong.
func tlsAdvice(err error, prefix, address string) string {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		plain     tls.RecordHeaderError
	)
	if err == nil {
		return ""
	}
	text := err.Error()
	switch {
	case errors.As(err, &authority):
		return "put the certificate of the authority that signed the server's into a file, and its path into " + prefix + "_TLS_CA"
	case errors.As(err, &name):
		return "let " + address + " name the server as its certificate does, or give it a certificate for this name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the server's certificate, if this machine's clock is right"
	case errors.As(err, &plain):
		return "see that " + address + " names a server and a port with TLS, or is meant to begin as it does"
	case !strings.Contains(text, "remote error: tls: "):
		return ""
	case strings.Contains(text, "wants a certificate"):
		return "put a certificate that the server accepts, and its key, into files, and their paths into " + prefix + "_TLS_CERT and " + prefix + "_TLS_KEY"
	case strings.Contains(text, prefix+"_TLS_CERT"):
		return "renew the certificate in " + prefix + "_TLS_CERT, or let the server accept the authority that signed it"
	}
	return ""
}
