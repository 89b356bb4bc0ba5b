package publish

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// batch is what goes to a partition under one sequence. Its bytes never change.
type batch struct {
	partition int
	records   int
	bytes     []byte // a length of four bytes, then a record batch of version 2
	producer  int64
	epoch     int16
	doubt     bool // there was an attempt without a definite answer
}

const (
	headerPass = "slotsync-pass"
	headerHash = "slotsync-hash"

	// What a batch and a record are longer than their content, at most: fixed fields and lengths as varints.
	batchOverhead  = 61
	recordOverhead = 1 + 5*5 + (1 + len(headerPass) + 2) + (1 + len(headerHash) + 1) + 2*len(shiftsync.Fingerprint{})
)

// Positions in a record batch of version 2.
const (
	atCRC      = 17 // over everything from atAttributes on
	atProducer = 43
	atEpoch    = 51
	atSequence = 53

	atAttributes = 21
	sizePrefix   = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// form writes records as one batch, under the sequence, to the end of buf.
func form(buf *bytes.Buffer, records *recordQueue, compress kafka.Compression, s *session, sequence int32) ([]byte, error) {
	start := buf.Len()
	set := protocol.RecordSet{Version: 2, Attributes: protocol.Attributes(compress), Records: records}
	if _, err := set.WriteTo(buf); err != nil {
		return nil, fmt.Errorf("form a batch: %w", err)
	}
	// The library writes -1 for all three: it knows no idempotent producers.
	whole := buf.Bytes()[start:]
	b := whole[sizePrefix:]
	binary.BigEndian.PutUint64(b[atProducer:], uint64(s.producer))
	binary.BigEndian.PutUint16(b[atEpoch:], uint16(s.epoch))
	binary.BigEndian.PutUint32(b[atSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], castagnoli))
	return whole, nil
}

// nextSequence is the sequence after a batch of n records. After the largest number comes 0.
func nextSequence(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}

// recordSize is what r takes of a batch at most, before compression.
func recordSize(r *shiftsync.Record, pass []byte) int {
	return recordOverhead + len(r.Key) + len(r.Value) + len(pass)
}

// recordQueue hands some of the records to the library, one at a time and each in the same memory: the library has
// copied one before it asks for the next.
type recordQueue struct {
	records []shiftsync.Record
	indices []int // of those to hand over
	at      time.Time

	record  protocol.Record
	key     content
	value   content
	headers [2]protocol.Header
	hash    [2 * len(shiftsync.Fingerprint{})]byte
}

func (q *recordQueue) reset(records []shiftsync.Record, indices []int, pass []byte, at time.Time) {
	q.records, q.indices, q.at = records, indices, at
	q.headers = [2]protocol.Header{{Key: headerPass, Value: pass}, {Key: headerHash, Value: q.hash[:]}}
}

// ReadRecord implements protocol.RecordReader.
func (q *recordQueue) ReadRecord() (*protocol.Record, error) {
	if len(q.indices) == 0 {
		return nil, io.EOF
	}
	r := &q.records[q.indices[0]]
	q.indices = q.indices[1:]
	hex.Encode(q.hash[:], r.Fingerprint[:])
	q.record = protocol.Record{Time: q.at, Key: q.key.of(r.Key), Value: q.value.of(r.Value), Headers: q.headers[:]}
	return &q.record, nil
}

// content is a key or value in the form that the library takes.
type content struct{ bytes.Reader }

// of returns nil for nil, which becomes a null, and in a value makes a tombstone.
func (c *content) of(b []byte) protocol.Bytes {
	if b == nil {
		return nil
	}
	c.Reset(b)
	return c
}

func (*content) Close() error { return nil }

// payload hands a batch's bytes to one attempt. The library reads them after it has a connection, just before it
// writes them out, which is the last moment to look at hold. And it knows for sure whether they were ever read: if
// not, nothing was sent, whatever the error says.
type payload struct {
	hold  shiftsync.Hold
	rest  bytes.Reader
	state atomic.Int32
}

const (
	untouched int32 = iota
	taken
	withdrawn
)

var errWithdrawn = errors.New("withdrawn before it was sent")

func newPayload(hold shiftsync.Hold, b []byte) *payload {
	p := &payload{hold: hold}
	p.rest.Reset(b)
	return p
}

func (p *payload) Read(b []byte) (int, error) {
	if p.state.Load() == untouched {
		if err := p.hold.Err(); err != nil {
			return 0, err
		}
		p.state.CompareAndSwap(untouched, taken)
	}
	if p.state.Load() == withdrawn {
		return 0, errWithdrawn
	}
	return p.rest.Read(b)
}

// withdraw ends the attempt and reports whether it may have sent anything. After a no, it never will.
func (p *payload) withdraw() (sent bool) {
	return !p.state.CompareAndSwap(untouched, withdrawn)
}
