package main

import (
	"fmt"
	"net/url"
)

const redacted = "[redacted]"

// secret is a text that nobody may see by accident: fmt, slog and JSON print [redacted] for it. The zero secret is
// none, and prints as nothing.
type secret struct {
	// A pointer, because fmt calls no method of a value in an unexported field: there, too, it shows no text.
	text *string
	file *secretFile // where it came from; nil: not from a file
}

// secretFile is a file that holds a secret.
type secretFile struct {
	setting string // that names it
	path    string
}

func newSecret(text string) secret { return secret{text: &text} }

// Reveal returns the text. It is for the call that sends it where it belongs.
func (s secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Fresh returns the text as it is now: a file, which may have been replaced, is read again.
func (s secret) Fresh() (string, error) {
	if s.file == nil {
		return s.Reveal(), nil
	}
	text, err := readSecret(s.file.path)
	if err == nil {
		_, err = parseSecret(text, nil)
	}
	if err != nil {
		return "", fmt.Errorf("%s %w", s.file.setting, err)
	}
	return text, nil
}

// from returns the name of the setting that names the secret's file, or otherwise if it is not from a file.
func (s secret) from(otherwise string) string {
	if s.file == nil {
		return otherwise
	}
	return s.file.setting
}

// Empty tells whether there is no secret.
func (s secret) Empty() bool { return s.Reveal() == "" }

func (s secret) String() string {
	if s.Empty() {
		return ""
	}
	return redacted
}

// Format serves every verb, so that %#v, %x and %q hide the text as %v does.
func (s secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText hides the text from JSON and from slog.
func (s secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// endpoint is a URL, which may hold a password: it prints as scheme, host and path.
type endpoint struct {
	full  secret
	shown string
}

func newEndpoint(u *url.URL) endpoint {
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return endpoint{newSecret(u.String()), bare.String()}
}

// Reveal returns the whole URL, user and password included.
func (e endpoint) Reveal() string { return e.full.Reveal() }

// Fresh returns the whole URL as it is now: a file, which may have been replaced, is read again.
func (e endpoint) Fresh() (string, error) { return e.full.Fresh() }

// hasUser tells whether the URL holds a user or a password.
func (e endpoint) hasUser() bool {
	u, err := url.Parse(e.Reveal())
	return err == nil && u.User != nil
}

func (e endpoint) String() string { return e.shown }

// Format serves every verb, as secret.Format does.
func (e endpoint) Format(f fmt.State, _ rune) { fmt.Fprint(f, e.shown) }

// MarshalText hides user and password from JSON and from slog.
func (e endpoint) MarshalText() ([]byte, error) { return []byte(e.shown), nil }
