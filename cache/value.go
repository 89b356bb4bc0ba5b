package cache

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// The first byte of every value is its form. The scripts know it too, and the length that goes with it; a value that
// begins otherwise was written by another release and is not remembered.
const (
	form      = 1 // of all but shifts and intents
	formShift = 2 // of shifts and intents
	formOlder = 1 // of shifts and intents without a start time, as the first releases wrote them
	formStub  = 3 // of shifts that were forgotten
)

// Lengths in bytes and, in the order of their fields, what the values are made of. Numbers are big endian, times are
// seconds since 1970 in 4 bytes, 0 for none.
const (
	versionSize = 8 + 16 + 4 + 4 + 4 + 4          // raw hash, fingerprint, schema, updated at, end time, start time
	shiftSize   = 1 + versionSize + 4 + 8 + 4 + 4 // form, version, partition, offset, acknowledged at, last seen
	stubSize    = 1 + 1 + 4 + 4 + 4               // form, tombstone, end time, start time, last seen
	intentSize  = 1 + 8 + versionSize + 1 + 4     // form, mark, version, tombstone, length of the key; key and value follow
	asideSize   = 1 + 8 + 4                       // form, raw hash; the reason follows; last seen
	noteSize    = 1 + 1 + 1 + 4                   // form, what it was, how often asked; when to ask again
	doubtSize   = 1 + 16                          // form, fingerprint; the pass and the time follow
	letterSize  = 1 + 8 + 8 + 4                   // form, id, raw hash, time; the parts follow

	startSize = 4 // what the older form of a version lacks, at its end
)

// lacking is what a shift or an intent of that form lacks at the end of its version.
func lacking(form byte) (bytes int, known bool) {
	switch form {
	case formShift:
		return 0, true
	case formOlder:
		return startSize, true
	}
	return 0, false
}

func appendVersion(b []byte, v *shiftsync.Version) []byte {
	b = binary.BigEndian.AppendUint64(b, v.Raw)
	b = append(b, v.Fingerprint[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(v.Schema))
	b = binary.BigEndian.AppendUint32(b, seconds(v.UpdatedAt))
	b = binary.BigEndian.AppendUint32(b, seconds(v.EndTime))
	return binary.BigEndian.AppendUint32(b, seconds(v.StartTime))
}

func readVersion(b []byte, lacks int, v *shiftsync.Version) {
	v.Raw = binary.BigEndian.Uint64(b)
	copy(v.Fingerprint[:], b[8:])
	v.Schema = shiftsync.SchemaID(binary.BigEndian.Uint32(b[24:]))
	v.UpdatedAt = instant(binary.BigEndian.Uint32(b[28:]))
	v.EndTime = instant(binary.BigEndian.Uint32(b[32:]))
	if lacks == 0 {
		v.StartTime = instant(binary.BigEndian.Uint32(b[36:]))
	}
}

// seconds clamps what four bytes cannot hold, so that a nonsensical year is far away still, and not "none".
func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(min(max(t.Unix(), 1), math.MaxUint32))
}

func instant(s uint32) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// appendHead appends what an intent begins with. Remember names an intent by it.
func appendHead(b []byte, mark uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, formShift), mark)
}

// appendShift appends a remembered shift without its two times, which are the server's to add.
func appendShift(b []byte, s *shiftsync.Settled) []byte {
	b = appendVersion(append(b, formShift), &s.Version)
	b = binary.BigEndian.AppendUint32(b, uint32(s.Partition))
	return binary.BigEndian.AppendUint64(b, uint64(s.Offset))
}

// readShift reads a remembered shift into k and returns the second in which it was last seen.
func readShift(value string, k *shiftsync.Known) (seen uint32) {
	if value == "" {
		return 0
	}
	lacks, known := lacking(value[0])
	if !known || len(value) != shiftSize-lacks {
		return 0
	}
	var b [shiftSize]byte
	copy(b[:], value)
	k.Remembered = true
	readVersion(b[1:], lacks, &k.Version)
	rest := b[1+versionSize-lacks:]
	k.Partition = int(binary.BigEndian.Uint32(rest))
	k.Offset = int64(binary.BigEndian.Uint64(rest[4:]))
	return binary.BigEndian.Uint32(rest[16:])
}

// stub is what is left of a shift that was forgotten.
type stub struct {
	ended      bool // what was forgotten is a tombstone
	start, end time.Time
}

func readStub(value string) (s stub, is bool) {
	if len(value) != stubSize || value[0] != formStub {
		return s, false
	}
	var b [stubSize]byte
	copy(b[:], value)
	s.ended, s.end, s.start = b[1] == 1, instant(binary.BigEndian.Uint32(b[2:])), instant(binary.BigEndian.Uint32(b[6:]))
	return s, true
}

func appendIntent(b []byte, in *shiftsync.Intent) []byte {
	b = appendVersion(appendHead(b, in.Mark), &in.Version)
	tombstone := byte(0)
	if in.Value == nil {
		tombstone = 1
	}
	b = binary.BigEndian.AppendUint32(append(b, tombstone), uint32(len(in.Key)))
	return append(append(b, in.Key...), in.Value...)
}

// readIntended reads the version of an intent into v. What it cannot read stays zero: the intent stands all the same.
func readIntended(value string, v *shiftsync.Version) {
	if value == "" {
		return
	}
	lacks, known := lacking(value[0])
	if !known || len(value) < intentSize-lacks {
		return
	}
	var b [versionSize]byte
	copy(b[:], value[9:])
	readVersion(b[:], lacks, v)
}

var errForm = errors.New("written in a form that this release does not know; let the release that wrote it settle it first")

// readIntent reads an intent. It does not tell what is in one that it cannot read.
func readIntent(value string, in *shiftsync.Intent) error {
	if value == "" {
		return errForm
	}
	lacks, known := lacking(value[0])
	size := intentSize - lacks
	switch {
	case !known:
		return errForm
	case len(value) < size:
		return fmt.Errorf("cut off after %d bytes", len(value))
	}
	b := []byte(value)
	in.Mark = binary.BigEndian.Uint64(b[1:])
	readVersion(b[9:], lacks, &in.Version)
	tombstone := b[size-5] == 1
	key, rest := binary.BigEndian.Uint32(b[size-4:]), b[size:]
	if uint64(key) > uint64(len(rest)) {
		return fmt.Errorf("cut off after %d bytes", len(value))
	}
	in.Key, in.Value = rest[:key:key], rest[key:]
	if tombstone {
		in.Value = nil
	}
	return nil
}

// appendAside appends a note of a version that was set aside, without its time.
func appendAside(b []byte, s *shiftsync.Settled) []byte {
	b = binary.BigEndian.AppendUint64(append(b, form), s.Raw)
	return append(b, s.Aside...)
}

func readAside(value string) (raw uint64) {
	if len(value) < asideSize || value[0] != form {
		return 0
	}
	var b [8]byte
	copy(b[:], value[1:])
	return binary.BigEndian.Uint64(b[:])
}

// appendNote appends what became of a shift that was missing, without the time after which to ask again.
func appendNote(b []byte, n *shiftsync.Note) []byte {
	return append(b, form, byte(n.Last), byte(min(n.Asked, math.MaxUint8)))
}

// readNote reads such a note into f and returns the second after which to ask again.
func readNote(value string, f *shiftsync.Finding) (next uint32) {
	if len(value) != noteSize || value[0] != form {
		return 0
	}
	var b [noteSize]byte
	copy(b[:], value)
	f.Last, f.Asked = shiftsync.Absence(b[1]), int(b[2])
	return binary.BigEndian.Uint32(b[3:])
}

// appendDoubt appends a version that is doubted, without the pass and the time.
func appendDoubt(b []byte, d *shiftsync.Doubted) []byte {
	return append(append(b, form), d.Fingerprint[:]...)
}

// nameless is the field in aside of a shift without an id.
func nameless(raw uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], raw)
	return "#" + hex.EncodeToString(b[:])
}
