package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/slotsync/slotsync/publish"
)

func parseInt[T int | int32 | int64](text string, _ *kong.Tag) (T, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || int64(T(n)) != n {
		return 0, fmt.Errorf("must be a whole number, not %q", text)
	}
	return T(n), nil
}

func parseFloat(text string, _ *kong.Tag) (float64, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || f != f {
		return 0, fmt.Errorf("must be a number, not %q", text)
	}
	return f, nil
}

// parseDuration reads 30s, 1m30s, or a bare number of seconds, which is all that the old program knew.
func parseDuration(text string, _ *kong.Tag) (time.Duration, error) {
	trimmed := strings.TrimSpace(text)
	if seconds, err := strconv.ParseInt(trimmed, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	d, err := time.ParseDuration(trimmed)
	if err != nil {
		return 0, fmt.Errorf("must be a number of seconds, or a time like 30s or 5m, not %q", text)
	}
	return d, nil
}

// parseSize reads 1048576, 1MiB, 1M (both 2^20) or 1MB (10^6).
func parseSize(text string, _ *kong.Tag) (byteSize, error) {
	trimmed := strings.TrimSpace(text)
	digits := strings.TrimRightFunc(trimmed, func(r rune) bool { return unicode.IsLetter(r) || r == ' ' })
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, known := map[string]int64{
		"": 1, "b": 1,
		"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
		"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
		"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
		"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
	}[strings.ToLower(strings.TrimSpace(trimmed[len(digits):]))]
	if err != nil || !known || n*unit/unit != n {
		return 0, fmt.Errorf("must be a size like 512MiB or 2GiB, not %q", text)
	}
	return byteSize(n * unit), nil
}

// parseStart reads beginning, end, an instant, or how long ago it was.
func parseStart(text string, tag *kong.Tag) (publish.Start, error) {
	trimmed := strings.TrimSpace(text)
	switch strings.ToLower(trimmed) {
	case "beginning":
		return publish.Beginning(), nil
	case "end":
		return publish.End(), nil
	}
	if at, err := time.Parse(time.RFC3339, trimmed); err == nil {
		return publish.Since(at), nil
	}
	ago, err := parseDuration(trimmed, tag)
	if err != nil || ago < 0 {
		return publish.Start{}, fmt.Errorf("must be beginning, end, a time like 2026-11-21T06:00:00Z, or an age like 15m, not %q", text)
	}
	return publish.Since(time.Now().Add(-ago)), nil
}

func parseBool(text string, _ *kong.Tag) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("must be true or false, not %q", text)
}

func parseWords(text string, tag *kong.Tag) (words, error) {
	var out words
	for _, word := range strings.Split(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		word, err := parseChoice(word, tag)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, word) {
			out = append(out, word)
		}
	}
	return out, nil
}

// parseChoice reads one of the setting's one_of, in any case.
func parseChoice(text string, tag *kong.Tag) (string, error) {
	choices := strings.Split(tag.Get("one_of"), ",")
	word := strings.ToLower(strings.TrimSpace(text))
	if !slices.Contains(choices, word) {
		return "", fmt.Errorf("must be one of %s, not %q", strings.Join(choices, ", "), text)
	}
	return word, nil
}

// parseMechanism reads one of the setting's one_of, in any case, or off.
func parseMechanism(text string, tag *kong.Tag) (string, error) {
	word := strings.ToUpper(strings.TrimSpace(text))
	if off, err := parseBool(word, nil); err == nil && !off {
		return "", nil
	}
	choices := strings.Split(tag.Get("one_of"), ",")
	if !slices.Contains(choices, word) {
		return "", fmt.Errorf("must be one of %s, not %q", strings.Join(choices, ", "), text)
	}
	return word, nil
}

// parsePairs reads a comma list of name=value. Names are letters, and of values only what goes between two of them is
// kept out (RFC 7628).
func parsePairs(text string, _ *kong.Tag) (pairs, error) {
	out := pairs{}
	for i, pair := range strings.Split(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		if !found || !regexp.MustCompile(`^[A-Za-z]+$`).MatchString(name) || name == "auth" || strings.ContainsFunc(value, unicode.IsControl) {
			return nil, fmt.Errorf("must be a comma list of name=value, the names of letters, but its element %d is not", i+1)
		}
		out[name] = value
	}
	return out, nil
}

func parseHostPorts(text string, tag *kong.Tag) (hostPorts, error) {
	var out hostPorts
	for i, address := range strings.Split(text, ",") {
		if address = strings.TrimSpace(address); address == "" {
			continue
		}
		if fault := faultOfHostPort(address, tag.Get("port")); fault != "" {
			return nil, fmt.Errorf("must be a comma list of host:port, but its element %d %s", i+1, fault)
		}
		out = append(out, address)
	}
	if len(out) == 0 {
		return nil, errors.New("must be a comma list of host:port, and has none")
	}
	return out, nil
}

// parseListen reads an address to listen on, which may leave out the host, and whose port may be 0: a free one. Off is none.
func parseListen(text string, _ *kong.Tag) (string, error) {
	trimmed := strings.TrimSpace(text)
	if off, err := parseBool(trimmed, nil); err == nil && !off || trimmed == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(trimmed)
	_, notNumber := strconv.ParseUint(port, 10, 16)
	if err != nil || notNumber != nil || host != "" && !isHost(host) {
		return "", fmt.Errorf("must be host:port to listen on, like 127.0.0.1:8080 or :8080, or off, not %q", text)
	}
	return trimmed, nil
}

// faultOfHostPort says what of host:port is missing or wrong, or "" if nothing is. It quotes the address, which is no
// secret, unless it is more than an address.
func faultOfHostPort(address, usual string) string {
	host, port, err := net.SplitHostPort(address)
	switch bare := net.ParseIP(strings.Trim(address, "[]")) != nil; {
	case strings.Contains(address, "://") || strings.ContainsAny(address, "@/"):
		return "is more than that: give no scheme, user or path"
	case err != nil && bare && strings.Contains(address, ":"):
		return fmt.Sprintf("%q has no port: an IPv6 address with one is written like [::1]:%s", address, usual)
	case err != nil && (bare || isHost(address)):
		return fmt.Sprintf("%q has no port: %s:%s is the usual one", address, address, usual)
	case err != nil:
		return fmt.Sprintf("is %q", address)
	case host == "":
		return fmt.Sprintf("%q has no host", address)
	case !isHost(host):
		return fmt.Sprintf("%q has a host that is none", address)
	case !isPort(port):
		return fmt.Sprintf("%q has a port that is no number from 1 to 65535", address)
	}
	return ""
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func parseHost(text string, _ *kong.Tag) (string, error) {
	host := strings.TrimSpace(text)
	if !isHost(host) {
		return "", errors.New("must be a host name or an IP address, without a port")
	}
	return host, nil
}

// isHost is generous: a resolver will have the last word. What it keeps out is a port, a user, a path, a line end.
func isHost(s string) bool {
	return net.ParseIP(s) != nil || regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$`).MatchString(s)
}

// parseEndpoint reads a URL with one of the setting's schemes. Its errors quote nothing: a URL may hold a password.
func parseEndpoint(text string, tag *kong.Tag) (endpoint, error) {
	text = strings.TrimSpace(text)
	schemes := strings.Split(tag.Get("schemes"), ",")
	scheme, rest, _ := strings.Cut(text, "://")
	if !slices.Contains(schemes, strings.ToLower(scheme)) || len(scheme) == len(text) {
		return endpoint{}, errors.New("must be a URL that begins with " + strings.Join(schemes, ":// or ") + "://")
	}
	u, err := url.Parse(text)
	if err != nil {
		return endpoint{}, faultOfURL(rest, err)
	}
	switch {
	case strings.HasPrefix(u.Scheme, "unix"):
		if u.Path == "" {
			return endpoint{}, errors.New("must name the path of a socket, like unix:///run/redis.sock")
		}
		return newEndpoint(u), nil
	case !isHost(u.Hostname()), u.Port() != "" && !isPort(u.Port()), strings.HasSuffix(u.Host, ":"):
		return endpoint{}, faultOfURL(rest, nil)
	case u.Fragment != "":
		return endpoint{}, errors.New("is a URL with a fragment: a # in a password is written %23")
	case u.RawQuery != "" && strings.HasPrefix(u.Scheme, "http"):
		return endpoint{}, errors.New("must be a URL without a query: a ? in a password is written %3F")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return newEndpoint(u), nil
}

// faultOfURL says what is wrong behind the scheme of a URL that cannot be used, or cannot be parsed, as err says. It
// quotes nothing, as what url says of it would.
func faultOfURL(rest string, err error) error {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	hostport, beyond := rest[strings.LastIndex(rest[:end], "@")+1:end], rest[end:]
	host, port := hostport, ""
	if colon := strings.LastIndex(hostport, ":"); colon > strings.LastIndex(hostport, "]") {
		host, port = hostport[:colon], hostport[colon+1:]
	}
	escape, hostError := url.EscapeError(""), url.InvalidHostError("")
	switch {
	case strings.Contains(beyond, "@"):
		return errors.New("is a URL that ends before its host: in a password, / is written %2F, ? is %3F and # is %23")
	case strings.HasPrefix(host, "[") != strings.HasSuffix(host, "]"):
		return errors.New("is a URL with one bracket: an IPv6 address is written between two, like [::1]")
	case host == "":
		return errors.New("is a URL without a host")
	case len(host) < len(hostport) && !isPort(port):
		return errors.New("is a URL whose port is no number from 1 to 65535")
	case errors.As(err, &escape):
		return errors.New("is a URL with a % that begins no escape: a % in a password is written %25")
	case errors.As(err, &hostError), !isHost(strings.Trim(host, "[]")):
		return errors.New("is a URL with a character in its host that no host has")
	}
	return errors.New("is a URL with a character that has to be written as % and two hexadecimal digits")
}

// parseSecret refuses what would not go into a header: a line end there would begin another header.
func parseSecret(text string, _ *kong.Tag) (secret, error) {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return secret{}, errors.New("must not hold line ends or other control characters")
	}
	if strings.TrimSpace(text) != text {
		return secret{}, errors.New("must not begin or end with a space")
	}
	return newSecret(text), nil
}

// parseEmail is generous, and quotes nothing: whose address it is does not belong into logs.
func parseEmail(text string, _ *kong.Tag) (string, error) {
	address := strings.TrimSpace(text)
	if address == "" || strings.ContainsFunc(address, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return "", errors.New("must be an e-mail address")
	}
	return address, nil
}

func parsePrintable(text string, _ *kong.Tag) (string, error) {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return "", errors.New("must not hold line ends or other control characters")
	}
	return text, nil
}

func parseTopic(text string, _ *kong.Tag) (string, error) {
	if text == "." || text == ".." || len(text) > 249 || !regexp.MustCompile(`^[a-zA-Z0-9._-]+$`).MatchString(text) {
		return "", fmt.Errorf("must be up to 249 letters, digits, dots, underscores and hyphens, not %q", text)
	}
	return text, nil
}

func parseTopicOrOff(text string, tag *kong.Tag) (string, error) {
	if on, err := parseBool(text, nil); err == nil && !on {
		return "", nil
	}
	return parseTopic(text, tag)
}

// parseName keeps to what can stand in a Redis key between braces and in a transactional id.
func parseName(text string, _ *kong.Tag) (string, error) {
	if len(text) > 100 || !regexp.MustCompile(`^[a-zA-Z0-9._-]+$`).MatchString(text) {
		return "", fmt.Errorf("must be up to 100 letters, digits, dots, underscores and hyphens, not %q", text)
	}
	return text, nil
}

func parseNamespace(text string, _ *kong.Tag) (string, error) {
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`).MatchString(text) {
		return "", fmt.Errorf("must be an Avro namespace, words of letters, digits and underscores with dots between, not %q", text)
	}
	return text, nil
}

func parseTag(text string, _ *kong.Tag) (string, error) {
	if strings.ContainsAny(text, ",|#") || strings.ContainsFunc(text, unicode.IsControl) {
		return "", fmt.Errorf("must be a tag's value, without commas, | or #, not %q", text)
	}
	return text, nil
}

func parsePrefix(text string, _ *kong.Tag) (string, error) {
	if !regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`).MatchString(text) {
		return "", fmt.Errorf("must be words of letters, digits, underscores and hyphens with dots between, not %q", text)
	}
	return text, nil
}
