package publish_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
)

// To hash for as long as a server wants stops the whole program, which then hears no signal either.
func TestABrokerCannotHaveThePasswordHashedForEver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rounds, says string
	}{
		{"2147483647", "login with SCRAM-SHA-256: the broker asks to hash the password more than 1,000,000 times"},
		{"1000001", "more than 1,000,000 times"},
		{"99999999999999999999", "does not prove"},
		{"4096", "does not prove"}, // gets as far as the proof
	} {
		t.Run(c.rounds, func(t *testing.T) {
			t.Parallel()
			b := &pipedBroker{login: func(sent []byte) *saslauthenticate.Response {
				_, nonce, first := strings.Cut(string(sent), "n=ann,r=")
				if !first {
					return &saslauthenticate.Response{AuthBytes: []byte("v=bm90aGluZw==")}
				}
				return &saslauthenticate.Response{AuthBytes: fmt.Appendf(nil, "r=%smore,s=c2FsdA==,i=%s", nonce, c.rounds)}
			}}
			k := b.behind(t, annsLogin(t, "SCRAM-SHA-256", always("hush-hush")))
			defer k.Close()
			began := time.Now()
			_, err := k.ClusterID(t.Context())
			wantSaid(t, err, c.says)
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}
