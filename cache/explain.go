package cache

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// serverError is trouble with Redis, or on the way to it.
type serverError struct {
	address string
	advice  string // may be empty
	err     error
}

// explain says of an error of the client which server it is about and what can be done.
func explain(client Client, err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		return err
	}
	return &serverError{addressOf(client), advice(err), err}
}

func (e *serverError) Error() string {
	text := "redis"
	if e.address != "" {
		text += " at " + e.address
	}
	// What follows these words, in the server's answer to a command that it does not know, is our data.
	said, _, _ := strings.Cut(e.err.Error(), ", with args beginning with")
	text += ": " + strings.TrimPrefix(said, "redis: ")
	if e.advice == "" {
		return text
	}
	return strings.TrimSuffix(text, ".") + "; " + e.advice
}

func (e *serverError) Unwrap() error { return e.err }

func addressOf(client Client) string {
	if one, ok := client.(*redis.Client); ok {
		return one.Options().Addr
	}
	return ""
}

func advice(err error) string {
	var network net.Error
	var plain tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	switch says := func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) }; {
	case errors.Is(err, context.Canceled):
		return "" // our own doing
	case redis.IsAuthError(err), says("invalid password"), says("AUTH "):
		return "user and password stand in REDIS_HOST: redis://user:password@host, or redis://:password@host"
	case redis.IsPermissionError(err):
		return "the user of REDIS_HOST needs the right to scripts, to SCAN, and to all keys slotsync:*"
	case redis.IsOOMError(err):
		return "Redis is full: raise its maxmemory"
	case redis.IsReadOnlyError(err):
		return "this is a replica: REDIS_HOST has to name its master"
	case redis.IsMasterDownError(err):
		return "this is a replica that has lost its master: REDIS_HOST has to name a master"
	case redis.IsLoadingError(err):
		return "Redis has just started: this passes when it has read its data"
	case says("MISCONF"):
		return "Redis cannot write to its disk: its log says why"
	case redis.IsMaxClientsError(err):
		return "raise its maxclients"
	case errors.As(err, &plain), errors.As(err, &certificate):
		return "does it speak TLS, as the rediss:// of REDIS_HOST says, with a certificate for this name from an authority that is known here?"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout), errors.As(err, &network) && network.Timeout():
		return "no answer in time: is REDIS_HOST right, and Redis neither overloaded nor behind a firewall?"
	case isAnswer(err):
		return ""
	default:
		return "is REDIS_HOST right, and Redis up?"
	}
}

// isAnswer tells an answer of the server from trouble of the network.
func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}
