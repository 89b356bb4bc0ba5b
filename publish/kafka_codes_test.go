package publish_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/publish/publishtest"
	shiftsync "github.com/slotsync/slotsync/sync"
)

func TestWhatTheBrokersCodesMean(t *testing.T) {
	t.Parallel()
	type want struct {
		fate   shiftsync.Fate
		fenced bool
		sends  int // 0: more than one
	}
	type script struct {
		first *kerr.Error // once, before code
		code  *kerr.Error
		want  want
	}
	scripts := make(map[string]script)
	for code, w := range map[*kerr.Error]want{
		kerr.CorruptMessage:               {fate: shiftsync.Unsent},
		kerr.NotEnoughReplicas:            {fate: shiftsync.Unsent},
		kerr.InvalidTopicException:        {fate: shiftsync.Unsent, sends: 1},
		kerr.TopicAuthorizationFailed:     {fate: shiftsync.Unsent, sends: 1},
		kerr.InvalidTimestamp:             {fate: shiftsync.Unsent, sends: 1},
		kerr.MessageTooLarge:              {fate: shiftsync.Refused, sends: 1},
		kerr.RecordListTooLarge:           {fate: shiftsync.Refused, sends: 1},
		kerr.InvalidRecord:                {fate: shiftsync.Refused, sends: 1},
		kerr.InvalidProducerEpoch:         {fate: shiftsync.Unsent, fenced: true, sends: 1},
		kerr.ProducerFenced:               {fate: shiftsync.Unsent, fenced: true, sends: 1},
		kerr.OutOfOrderSequenceNumber:     {fate: shiftsync.Unknown, sends: 1},
		kerr.DuplicateSequenceNumber:      {fate: shiftsync.Unknown, sends: 1},
		kerr.UnknownProducerID:            {fate: shiftsync.Unknown, sends: 1},
		kerr.NotLeaderForPartition:        {fate: shiftsync.Unknown},
		kerr.RequestTimedOut:              {fate: shiftsync.Unknown},
		kerr.NotEnoughReplicasAfterAppend: {fate: shiftsync.Unknown},
		kerr.UnknownTopicOrPartition:      {fate: shiftsync.Unknown},
		kerr.KafkaStorageError:            {fate: shiftsync.Unknown},
		kerr.UnknownServerError:           {fate: shiftsync.Unknown},
	} {
		scripts[code.Message] = script{code: code, want: w}
	}
	for _, code := range []*kerr.Error{
		kerr.CorruptMessage, kerr.NotEnoughReplicas, kerr.InvalidTopicException, kerr.TopicAuthorizationFailed, kerr.InvalidTimestamp,
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.OutOfOrderSequenceNumber,
	} {
		scripts["in doubt, then "+code.Message] = script{first: kerr.NotLeaderForPartition, code: code, want: want{fate: shiftsync.Unknown}}
	}
	for _, code := range []*kerr.Error{kerr.InvalidProducerEpoch, kerr.ProducerFenced} {
		scripts["in doubt, then "+code.Message] = script{first: kerr.NotLeaderForPartition, code: code, want: want{fate: shiftsync.Unknown, fenced: true}}
	}
	for name, s := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startKafka(t, publishtest.KafkaOptions{})
			k := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id", Limit: 400 * time.Millisecond})
			produced := watch[*kmsg.ProduceRequest](c, kmsg.Produce)
			if s.first != nil {
				c.Fault(fault(s.first, 1))
			}
			c.Fault(fault(s.code, -1))
			outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("secret"))
			if got, want := fates(outcomes), all(s.want.fate, 1); !slices.Equal(got, want) {
				t.Fatalf("fates %v, want %v (%v)", got, want, err)
			}
			if got := len(produced.all()); got != s.want.sends && (s.want.sends != 0 || got < 2) {
				t.Errorf("sent it %d times, want %d", got, s.want.sends)
			}
			if errors.Is(err, shiftsync.ErrFenced) != s.want.fenced {
				t.Errorf("error %v, want ErrFenced: %t", err, s.want.fenced)
			}
			if s.want.fate == shiftsync.Refused {
				if err != nil || outcomes[0].Reason == "" || strings.Contains(outcomes[0].Reason, "secret") {
					t.Errorf("reason %q, error %v, want a reason without content and no error", outcomes[0].Reason, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), topic+"/0 at 127.0.0.1:") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line that names partition and broker", err)
			}
			if s.code == kerr.TopicAuthorizationFailed && !strings.Contains(err.Error(), "right Write") {
				t.Errorf("error %v, want the right that is missing", err)
			}
			if s.code == kerr.InvalidTimestamp && !strings.Contains(err.Error(), "clock") {
				t.Errorf("error %v, want a word about the clock", err)
			}
			if s.want.fate == shiftsync.Unsent {
				wantLog(t, c)
			}
		})
	}
	if len(scripts) < 25 {
		t.Errorf("only %d cases", len(scripts))
	}
}

func TestOneBadRecordIsSetAsideAlone(t *testing.T) {
	for name, c := range map[string]struct {
		bad      string
		describe bool // whether the topic's settings may be seen
		invalid  bool
	}{
		"too large, by a limit that is known":     {bad: strings.Repeat("x", 5000), describe: true},
		"too large, by a limit that is not known": {bad: strings.Repeat("x", 5000)},
		"invalid": {bad: "poison", describe: true, invalid: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := startKafka(t, publishtest.KafkaOptions{TopicSettings: map[string]string{"max.message.bytes": "4000"}})
			if c.invalid {
				cluster.Fault(kfake.Fault{
					Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.InvalidRecord, Count: -1,
					When: func(r kmsg.Request) bool {
						return strings.Contains(string(r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records), c.bad)
					},
				})
			}
			if !c.describe {
				cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
			}
			produced := watch[*kmsg.ProduceRequest](cluster, kmsg.Produce)
			k := startProducer(t, cluster, fenced)
			var records []shiftsync.Record
			var want []string
			for i := range 30 {
				records = append(records, record(i, fmt.Sprint("v", i)))
				want = append(want, fmt.Sprint("v", i))
			}
			records[17] = record(17, c.bad)
			want = slices.Delete(want, 17, 18)
			outcomes, err := k.Publish(t.Context(), &right{}, "pass", records)
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range outcomes {
				fate := shiftsync.Acknowledged
				if i == 17 {
					fate = shiftsync.Refused
				}
				if o.Fate != fate {
					t.Errorf("record %d: fate %v (%s), want %v", i, o.Fate, o.Reason, fate)
				}
			}
			if reason := outcomes[17].Reason; reason == "" || strings.Contains(reason, c.bad) {
				t.Errorf("reason %q, want one without content", reason)
			}
			wantLog(t, cluster, want...)
			for _, r := range produced.all() {
				sent := r.Topics[0].Partitions[0].Records
				if n := binary.BigEndian.Uint32(sent[57:]); c.describe && len(sent) > 4000 && n > 1 {
					t.Errorf("sent %d records in %d bytes, more than the topic is known to take", n, len(sent))
				}
			}
			mustPublish(t, k, versions("after"))
		})
	}
}

func TestManyTroublesAreOneShortError(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{Partitions: 50})
	k := startProducer(t, c, fenced)
	c.Fault(fault(kerr.TopicAuthorizationFailed, -1))
	var records []shiftsync.Record
	for i := range 500 {
		records = append(records, record(i, "v"))
	}
	_, err := k.Publish(t.Context(), &right{}, "pass", records)
	if err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "more partitions") {
		t.Errorf("error of %d bytes: %v", len(fmt.Sprint(err)), err)
	}
	if !errors.Is(err, kafka.TopicAuthorizationFailed) {
		t.Error("what it wraps is lost")
	}
}

func TestRecordsThatTheBrokerBlamesAreCutOut(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	k := startProducer(t, c, fenced)
	bad := map[uint32][]int32{10: {0, 4}, 1: {0}} // by the size of the batch that comes
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		p := req.(*kmsg.ProduceRequest).Topics[0].Partitions[0]
		blamed := bad[binary.BigEndian.Uint32(p.Records[57:])]
		if blamed == nil {
			return nil, nil, false
		}
		c.KeepControl()
		answer := kmsg.NewProduceResponseTopicPartition()
		answer.ErrorCode = kerr.InvalidRecord.Code
		for _, i := range blamed {
			e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			e.RelativeOffset = i
			answer.ErrorRecords = append(answer.ErrorRecords, e)
		}
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		of := kmsg.NewProduceResponseTopic()
		of.Topic, of.Partitions = topic, []kmsg.ProduceResponseTopicPartition{answer}
		res.Topics = append(res.Topics, of)
		return res, nil, true
	})
	outcomes, err := k.Publish(t.Context(), &right{}, "pass", versions("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"))
	want := all(shiftsync.Acknowledged, 10)
	want[0], want[4] = shiftsync.Refused, shiftsync.Refused
	if got := fates(outcomes); err != nil || !slices.Equal(got, want) {
		t.Errorf("fates %v, error %v, want %v", got, err, want)
	}
	wantLog(t, c, "1", "2", "3", "5", "6", "7", "8", "9")
}

func TestNoAttemptThatCannotBeAnsweredInTime(t *testing.T) {
	t.Parallel()
	c := startKafka(t, publishtest.KafkaOptions{})
	proxy := publishtest.NewProxy()
	t.Cleanup(proxy.Close)
	k := startProducer(t, c, publish.KafkaOptions{TransactionalID: "id", Dial: proxy.Dial, Limit: 8 * time.Second})
	f := fault(kerr.NotEnoughReplicas, 1)
	f.When = func(kmsg.Request) bool {
		proxy.Catch(publishtest.Request, 0, 100) // whatever comes after it is not answered
		return true
	}
	c.Fault(f)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	outcomes, err := k.Publish(ctx, &right{}, "pass", versions("a"))
	if err == nil || outcomes[0].Fate != shiftsync.Unsent {
		t.Errorf("fate %v, error %v, want Unsent and an error", outcomes[0].Fate, err)
	}
}
