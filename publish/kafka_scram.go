package publish

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
)

// maxRounds bounds how often a broker may have the password hashed. Brokers ask for 4096, or some 100,000; a million
// take a second or so. The library computes what it is asked for, and nothing can stop it.
const maxRounds = 1_000_000

var errTooManyRounds = errors.New("the broker asks to hash the password more than 1,000,000 times: " +
	"lower the SCRAM iterations of this user, if KAFKA_BROKERS are right")

// boundedSCRAM is a SCRAM mechanism that reads how much it is to compute before it does.
type boundedSCRAM struct{ sasl.Mechanism }

func (b boundedSCRAM) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	exchange, message, err := b.Mechanism.Start(ctx)
	return boundedExchange{exchange}, message, err
}

type boundedExchange struct{ sasl.StateMachine }

func (b boundedExchange) Next(ctx context.Context, challenge []byte) (done bool, answer []byte, err error) {
	for field := range strings.SplitSeq(string(challenge), ",") {
		rounds, is := strings.CutPrefix(field, "i=")
		if n, err := strconv.Atoi(rounds); is && err == nil && n > maxRounds { // what is no number, the library refuses
			return false, nil, errTooManyRounds
		}
	}
	return b.StateMachine.Next(ctx, challenge)
}
