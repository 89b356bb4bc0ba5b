package shiftsync

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Fingerprint is a hash of what is published of a shift: equal content, equal fingerprint.
type Fingerprint [16]byte

// FingerprintOf returns the first half of the SHA-256 of body, the Avro bytes of a record without its schema id.
// It is cryptographic because whoever may edit a shift's notes could otherwise make a change that is never seen.
func FingerprintOf(body []byte) Fingerprint {
	sum := sha256.Sum256(body)
	return Fingerprint(sum[:16])
}

// String returns the fingerprint in hexadecimal.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// SchemaID is the number by which a schema registry knows a schema; 0 is none.
type SchemaID int32

// Version is what is remembered of one state of a shift.
type Version struct {
	Fingerprint Fingerprint
	Schema      SchemaID // of the value; Fingerprint is a hash of bytes written with it
	Raw         uint64   // hash of the bytes as they came and of all that decides how they are read
	UpdatedAt   time.Time
	EndTime     time.Time
	StartTime   time.Time // zero: not known, as of what earlier releases remembered
}

// Tombstone tells whether the version is that of a shift that is gone: no value has an empty body.
func (v Version) Tombstone() bool {
	// FingerprintOf(nil), written out since this is asked of every shift that is remembered.
	return v.Fingerprint == Fingerprint{0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24}
}

// Record is one message for the topic and the version that it carries.
type Record struct {
	ID    int64
	Key   []byte // Confluent wire format
	Value []byte // Confluent wire format; nil is a tombstone
	Version
}
