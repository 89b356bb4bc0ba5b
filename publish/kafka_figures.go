package publish

import "sync/atomic"

// Figures count what a producer did since it was made.
type Figures struct {
	Batches int64 // sent to a partition, each once however often it was repeated
	Retries int64 // further attempts to send one
	Unknown int64 // batches given up without a definite answer
	Epochs  int64 // taken from the broker
	Bytes   int64 // of the batches that were acknowledged, compressed if they are
}

// Since returns what was counted after earlier was.
func (f Figures) Since(earlier Figures) Figures {
	return Figures{
		Batches: f.Batches - earlier.Batches,
		Retries: f.Retries - earlier.Retries,
		Unknown: f.Unknown - earlier.Unknown,
		Epochs:  f.Epochs - earlier.Epochs,
		Bytes:   f.Bytes - earlier.Bytes,
	}
}

// counters are Figures that several goroutines count.
type counters struct {
	batches, retries, unknown, epochs, bytes atomic.Int64
}

// Figures returns what was counted so far. It waits for nobody.
func (k *Kafka) Figures() Figures {
	c := &k.counters
	return Figures{c.batches.Load(), c.retries.Load(), c.unknown.Load(), c.epochs.Load(), c.bytes.Load()}
}
