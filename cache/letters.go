package cache

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// CountLetters returns how many letters wait.
func (r *Redis) CountLetters(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	n, err := r.client.HLen(ctx, r.key.letters).Result()
	if err != nil {
		return 0, fmt.Errorf("hlen letters: %w", explain(r.client, err))
	}
	return int(n), nil
}

const (
	letterPage  = 10      // letters of a page, more or less: each may be of 4 MiB
	lettersMost = 500     // that are returned at once, and a page
	lettersSize = 4 << 20 // bytes that are returned at once, and a page
)

// Letters returns some of the letters that wait, hundreds if they are not large. Those of another form are passed over:
// they wait for the release that wrote them.
func (r *Redis) Letters(ctx context.Context, cursor uint64) (letters []shiftsync.DeadLetter, next uint64, err error) {
	for size := 0; ; {
		page, next, err := r.scanSome(ctx, r.key.letters, cursor, letterPage)
		if err != nil {
			return nil, 0, fmt.Errorf("hscan letters: %w", err)
		}
		for i := 1; i < len(page); i += 2 {
			size += len(page[i])
			if l, known := readLetter([]byte(page[i])); known {
				letters = append(letters, l)
			}
		}
		if cursor = next; cursor == 0 || len(letters) >= lettersMost || size >= lettersSize {
			return letters, cursor, nil
		}
	}
}

// Delivered drops letters. A small hash comes as one page, however many that is, so it does so in parts.
func (r *Redis) Delivered(ctx context.Context, term shiftsync.Term, letters []shiftsync.DeadLetter) error {
	for some := range slices.Chunk(letters, lettersMost) {
		args := make([]any, 0, 2+3*len(some))
		args = append(args, term.Owner, term.Claim)
		for i := range some {
			args = append(args, letterField(some[i].ID, some[i].Raw), "", 0)
		}
		if _, err := r.run(ctx, r.script.note, []string{r.key.lease, r.key.letters}, args...); err != nil {
			return err
		}
	}
	return nil
}

// letterField names the letter of a version.
func letterField(id int64, raw uint64) string {
	if id == 0 {
		return nameless(raw)
	}
	return strconv.FormatInt(id, 10) + nameless(raw)
}

// appendLetter appends a letter, or nothing if there is none: form, id, raw hash and second, and then its parts, each
// behind its length. Of these, none that is empty differs from one that is not there.
func appendLetter(b []byte, l *shiftsync.DeadLetter) []byte {
	if l == nil {
		return b
	}
	b = binary.BigEndian.AppendUint64(append(b, form), uint64(l.ID))
	b = binary.BigEndian.AppendUint64(b, l.Raw)
	b = binary.BigEndian.AppendUint32(b, seconds(l.Time))
	for _, part := range [][]byte{[]byte(l.Stage), []byte(l.Reason), []byte(l.Pass), l.Key, l.Body} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
	}
	return b
}

// readLetter reads such a letter. What it points into is value.
func readLetter(value []byte) (l shiftsync.DeadLetter, known bool) {
	if len(value) < letterSize || value[0] != form {
		return l, false
	}
	l.ID = int64(binary.BigEndian.Uint64(value[1:]))
	l.Raw = binary.BigEndian.Uint64(value[9:])
	l.Time = instant(binary.BigEndian.Uint32(value[17:]))
	var parts [5][]byte
	rest := value[letterSize:]
	for i := range parts {
		if len(rest) < 4 {
			return l, false
		}
		n := binary.BigEndian.Uint32(rest)
		if rest = rest[4:]; uint64(n) > uint64(len(rest)) {
			return l, false
		}
		if n > 0 {
			parts[i] = rest[:n:n]
		}
		rest = rest[n:]
	}
	l.Stage, l.Reason, l.Pass = shiftsync.Stage(parts[0]), string(parts[1]), string(parts[2])
	l.Key, l.Body = parts[3], parts[4]
	return l, true
}
