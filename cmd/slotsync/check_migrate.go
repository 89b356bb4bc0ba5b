package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slotsync/slotsync/publish"
)

// migration is what the first day of slotsync in the place of slot_sync will bring.
type migration struct {
	Shifts     int             `json:"shifts"`     // in the window
	Unreadable int             `json:"unreadable"` // of them, set aside
	Remembered int             `json:"remembered"` // of them, not published again
	Records    int             `json:"records"`    // that the first pass publishes
	Bytes      int             `json:"bytes"`      // of them, about, uncompressed; 0: not known
	Spread     []partitionLoad `json:"spread"`     // of the whole window; empty: not known
	KeyType    string          `json:"key_type"`   // of the topic's key schema; empty: there is none
	// FieldsAdded are those that consumers will see beside what is registered.
	FieldsAdded []string `json:"fields_added"`
	OldKeys     int      `json:"old_keys"`       // slot:* in Redis, left alone
	OldKeysAll  bool     `json:"old_keys_exact"` // all were counted
	Remarks     []string `json:"remarks"`        // on settings and on what could not be found out
}

// partitionLoad is how many records go to one partition.
type partitionLoad struct {
	Partition int `json:"partition"`
	Records   int `json:"records"`
}

// foresee works out the first day from what was gathered. What could not be found out is a remark.
func foresee(w *facts) *migration {
	m := &migration{
		Shifts: w.api.shifts, Unreadable: w.api.unreadable, OldKeys: w.redis.old, OldKeysAll: w.redis.oldAll,
		Spread: []partitionLoad{}, FieldsAdded: []string{}, // empty lists for scripts, and no nulls
	}
	remark := func(format string, args ...any) { m.Remarks = append(m.Remarks, fmt.Sprintf(format, args...)) }
	if w.api.err != nil {
		remark("the window could not be read whole, so there may be more shifts than are counted here")
	}
	m.Remembered = w.redis.remembers
	if w.redis.state == nil {
		remark("what is remembered already could not be found out; if nothing is, the whole window is published")
	}
	m.Records = len(w.api.ids) - m.Remembered
	if found := w.registry.found; found == nil {
		remark("without the registry neither bytes nor partitions nor schema changes can be told")
	} else {
		m.KeyType = found.Key.KeyType
		m.FieldsAdded = append(m.FieldsAdded, found.Value.Added...)
		m.Bytes = m.Records * averageBytes(w, found)
		if loads := spread(w, found); loads != nil {
			m.Spread = loads
		} else if w.kafka.reached() && w.kafka.cluster.Topic == nil {
			remark("which partition a key goes to hangs on the key's schema id, which is given when it is registered")
		}
	}
	m.Remarks = append(m.Remarks, w.cfg.warnings...)
	if w.cfg.Sync.DaysPrior > 0 && !warnedOf(w.cfg, "SYNC_DAYS_PRIOR is negative") {
		remark("SYNC_DAYS_PRIOR=%d covers the days before now; slot_sync added it, and so began that many days after now", w.cfg.Sync.DaysPrior)
	}
	if w.cfg.Kafka.Partition == nil {
		remark("slot_sync wrote to partition 0 only; if a consumer relies on that, set KAFKA_PARTITION=0")
	}
	if w.cfg.Sync.Deletes == "update" {
		remark("slot_sync never looked for shifts that vanished from the window; now those that moved or are not listed any more are published once more if they changed, unless SYNC_DELETES=off")
	}
	remark("EXPIRE_CACHE counts from when a shift was last seen; slot_sync sent each one again that long after its last change")
	return m
}

func warnedOf(cfg *config, text string) bool {
	return slices.ContainsFunc(cfg.warnings, func(warning string) bool { return strings.HasPrefix(warning, text) })
}

// averageBytes measures some records.
func averageBytes(w *facts, found *publish.Inspection) int {
	sum, n := 0, 0
	for i := range w.api.samples {
		s := &w.api.samples[i]
		value, err := found.ValueBytes(s)
		if err != nil {
			continue // the worker sets it aside
		}
		sum += publish.RecordBytes(len(publish.AppendKey(nil, found.Key.Use, s.ID)), value)
		n++
	}
	if n == 0 {
		return 0
	}
	return sum / n
}

// spread counts the window's records by partition; nil if that cannot be known.
func spread(w *facts, found *publish.Inspection) []partitionLoad {
	if !w.kafka.reached() || len(w.kafka.cluster.Partitions) == 0 || found.Key.Use == 0 && w.cfg.Kafka.Partition == nil {
		return nil
	}
	var partitions []int
	counts := map[int]int{}
	for _, p := range w.kafka.cluster.Partitions {
		partitions = append(partitions, p.ID)
		counts[p.ID] = 0
	}
	var key []byte
	for id := range w.api.ids {
		key = publish.AppendKey(key[:0], found.Key.Use, id)
		counts[w.kafka.partitionOf(key, partitions)]++
	}
	loads := []partitionLoad{}
	for _, p := range slices.Sorted(maps.Keys(counts)) {
		loads = append(loads, partitionLoad{p, counts[p]})
	}
	return loads
}

func (m *migration) text(width int) string {
	var b strings.Builder
	line := func(title, format string, args ...any) {
		fmt.Fprintf(&b, "  %-*s  %s\n", titleWidth, title, wrapped(fmt.Sprintf(format, args...), width, 2+titleWidth+2, 2+titleWidth+2))
	}
	b.WriteString("The first day\n")
	first := fmt.Sprintf("%s records for %s shifts in the window", grouped(m.Records), grouped(m.Shifts))
	if m.Remembered > 0 {
		first += fmt.Sprintf(", %s are remembered already", grouped(m.Remembered))
	}
	if m.Unreadable > 0 {
		first += fmt.Sprintf(", %s cannot be read", grouped(m.Unreadable))
	}
	if m.Bytes > 0 {
		first += fmt.Sprintf("; about %s", mebibytes(int64(m.Bytes)))
	}
	line("first pass", "%s", first)
	if len(m.Spread) > 0 {
		var parts []string
		for _, l := range m.Spread {
			parts = append(parts, fmt.Sprintf("%d: %s", l.Partition, grouped(l.Records)))
		}
		line("partitions", "%s (slot_sync: all in 0)", strings.Join(parts, ", "))
	}
	if m.KeyType == "" {
		line("key schema", "registered at start, with an id of type long")
	} else {
		line("key schema", "its id is of type %s", m.KeyType)
	}
	if len(m.FieldsAdded) > 0 {
		line("new fields", "%s; each can be null", strings.Join(m.FieldsAdded, ", "))
	} else {
		line("new fields", "none beside those registered")
	}
	line("old keys", "%s slot:* of slot_sync in Redis, left alone: going back is safe", oldKeys(&redisFacts{old: m.OldKeys, oldAll: m.OldKeysAll}))
	for i, r := range m.Remarks {
		title := ""
		if i == 0 {
			title = "to know"
		}
		line(title, "%s", r)
	}
	return b.String()
}
