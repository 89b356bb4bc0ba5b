package publish_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/linkedin/goavro/v2"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/slotsync/slotsync/publish"
	"github.com/slotsync/slotsync/schemas"
	shiftsync "github.com/slotsync/slotsync/sync"
)

var update = flag.Bool("update", false, "write the golden records anew")

// at reads an instant as the API writes it.
func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC1123Z, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// shapes are shifts as captured answers have them, with made-up values save those of 2018, which slot_sync's own
// tests show.
func shapes(t testing.TB) map[string]shiftsync.Shift {
	return map[string]shiftsync.Shift{
		"2012": {
			ID: 976, AccountID: 1, UserID: 4364, LocationID: 1111, Color: "cccccc",
			StartTime: at(t, "Mon, 06 Feb 2012 08:00:00 -0600"), EndTime: at(t, "Mon, 06 Feb 2012 16:00:00 -0600"),
			CreatedAt: at(t, "Sun, 05 Feb 2012 10:00:00 -0600"), UpdatedAt: at(t, "Sun, 05 Feb 2012 10:00:00 -0600"),
			Published: true, PublishedDate: at(t, "Sun, 05 Feb 2012 11:00:00 -0600"),
		},
		"2014": {
			ID: 10000, AccountID: 10000, UserID: 101, LocationID: 1045, PositionID: 19483, SiteID: 4351, CreatorID: 101,
			StartTime: at(t, "Fri, 07 Mar 2014 08:30:00 -0600"), EndTime: at(t, "Fri, 07 Mar 2014 17:30:00 -0600"),
			BreakTime: 0.5, Color: "cc0000", Notes: "bring the long ladder", Instances: 1,
			BreakTimeHours: shiftsync.Some(0.5),
		},
		"2018": sample2018(t),
		"2025": {
			ID: 3458185949, AccountID: 77, LocationID: 5, PositionID: 6, CreatorID: 51057629, Instances: 3, IsOpen: true,
			StartTime: at(t, "Sat, 01 Mar 2025 22:00:00 -0600"), EndTime: at(t, "Sun, 02 Mar 2025 06:00:00 -0600"),
			BreakTime: 1.5, Color: "8f4b2e", ShiftchainKey: "1l6wxcm", Notes: "naïve café ☕\n{\"a\": 1}",
			BreakTimeHours: shiftsync.Some(1.5),
			LinkedUserIDs:  []int64{101, 4294967297},
			Breaks: []shiftsync.Break{
				{ID: -3458185949, LengthSeconds: 1800},
				{
					ID: 7, LengthSeconds: 3600, Paid: true, Sort: 1,
					StartTime: at(t, "Sun, 02 Mar 2025 01:00:00 -0600"), EndTime: at(t, "Sun, 02 Mar 2025 02:00:00 -0600"),
				},
			},
			IsShared: shiftsync.Some(false), IsTrimmed: shiftsync.Some(false),
			RequiresOpenshiftApproval:  shiftsync.Some(true),
			OpenshiftApprovalRequestID: shiftsync.Some(int64(0)),
			IsApprovedWithoutTime:      shiftsync.Some(false),
		},
	}
}

func sample2018(t testing.TB) shiftsync.Shift {
	return shiftsync.Shift{
		AccountID: 77967, Acknowledged: true, AcknowledgedAt: at(t, "Mon, 01 Oct 2018 15:27:30 +0100"),
		Color: "74a611", CreatedAt: at(t, "Wed, 26 Sep 2018 12:24:58 +0100"), CreatorID: 5526232,
		EndTime: at(t, "Mon, 08 Oct 2018 00:15:00 +0100"), ID: 2076303948, LocationID: 3999871,
		NotifiedAt: at(t, "Tue, 02 Oct 2018 22:32:58 +0100"), PositionID: 709909, Published: true,
		PublishedDate: at(t, "Wed, 26 Sep 2018 16:59:05 +0100"), SiteID: 3530221,
		StartTime: at(t, "Sun, 07 Oct 2018 21:00:00 +0100"), UpdatedAt: at(t, "Mon, 01 Oct 2018 15:27:30 +0100"),
		UserID: 29205212,
	}
}

// encoderWith returns an encoder that writes with the given value schema, which is the only version of its subject.
func encoderWith(t testing.TB, value string) (*publish.Avro, *srfake.Registry) {
	t.Helper()
	fake := srfake.NewRegistry()
	fake.SeedSchema("slots-key", 1, 1, sr.Schema{Schema: schemas.Key("slots")})
	fake.SeedSchema("slots-value", 1, 2, sr.Schema{Schema: value})
	a := newAvro(t, fake.Handler(), "slots", publish.AvroOptions{})
	prepare(t, a)
	return a, fake
}

func encode(t testing.TB, a *publish.Avro, s shiftsync.Shift) shiftsync.Record {
	t.Helper()
	var r shiftsync.Record
	if _, err := a.Encode(&s, nil, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// decode reads a record's key or value with another library than the one that wrote it.
func decode(t testing.TB, schema string, wire []byte) map[string]any {
	t.Helper()
	if len(wire) < 5 || wire[0] != 0 {
		t.Fatalf("not in wire format: %x", wire)
	}
	parsed, err := avro.ParseWithCache(schema, "", &avro.SchemaCache{})
	if err != nil {
		t.Fatal(err)
	}
	r := avro.NewReader(nil, 0).Reset(wire[5:])
	v := plain(r.ReadNext(parsed))
	if r.Error != nil {
		t.Fatalf("decode: %v", r.Error)
	}
	if r.Read(make([]byte, 1)); r.Error == nil {
		t.Fatal("bytes are left after the record")
	}
	return v.(map[string]any)
}

// plain takes away the name of the branch that the decoder puts around a value in a union. No record here has one field
// of such a name.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			v[name] = plain(inner)
			switch name {
			case "array", "boolean", "double", "long", "string":
				return v[name]
			}
		}
	case []any:
		for i, inner := range v {
			v[i] = plain(inner)
		}
	}
	return v
}

// published is what a shift's record must say, by name.
func published(s shiftsync.Shift, also2018 bool) map[string]any {
	instant := func(v time.Time, absent any) any {
		if v.IsZero() {
			return absent
		}
		return v.UTC().Format("2006-01-02T15:04:05") + "Z"
	}
	valid := func(v string) string { return strings.ToValidUTF8(v, "\uFFFD") }
	acknowledged := int64(0)
	if s.Acknowledged {
		acknowledged = 1
	}
	m := map[string]any{
		"account_id": s.AccountID, "acknowledged": acknowledged, "acknowledged_at": instant(s.AcknowledgedAt, nil),
		"actionable": s.Actionable, "alerted": s.Alerted, "block_id": s.BlockID, "break_time": int64(s.BreakTime),
		"color": valid(s.Color), "created_at": instant(s.CreatedAt, ""), "creator_id": s.CreatorID,
		"end_time": instant(s.EndTime, ""), "id": s.ID, "instances": s.Instances, "is_open": s.IsOpen,
		"linked_users": nil, "location_id": s.LocationID, "notes": valid(s.Notes),
		"notified_at": instant(s.NotifiedAt, nil), "position_id": s.PositionID, "published": s.Published,
		"published_date": instant(s.PublishedDate, ""), "shiftchain_key": valid(s.ShiftchainKey), "site_id": s.SiteID,
		"start_time": instant(s.StartTime, ""), "updated_at": instant(s.UpdatedAt, ""), "user_id": s.UserID,
	}
	if also2018 {
		return m
	}
	m["break_time_hours"] = given(s.BreakTimeHours)
	m["linked_user_ids"], m["breaks"] = nil, nil
	if s.LinkedUserIDs != nil {
		ids := []any{}
		for _, id := range s.LinkedUserIDs {
			ids = append(ids, id)
		}
		m["linked_user_ids"] = ids
	}
	if s.Breaks != nil {
		breaks := []any{}
		for _, b := range s.Breaks {
			breaks = append(breaks, map[string]any{
				"id": b.ID, "length_seconds": b.LengthSeconds, "paid": b.Paid, "sort": b.Sort,
				"start_time": instant(b.StartTime, nil), "end_time": instant(b.EndTime, nil),
			})
		}
		m["breaks"] = breaks
	}
	m["is_shared"] = given(s.IsShared)
	m["is_trimmed"] = given(s.IsTrimmed)
	m["requires_openshift_approval"] = given(s.RequiresOpenshiftApproval)
	m["openshift_approval_request_id"] = given(s.OpenshiftApprovalRequestID)
	m["is_approved_without_time"] = given(s.IsApprovedWithoutTime)
	return m
}

func given[T any](o shiftsync.Optional[T]) any {
	if !o.Set {
		return nil
	}
	return o.Value
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

func TestGoldenRecords(t *testing.T) {
	a, _ := encoderWith(t, schemas.Value("slots"))
	names := 0
	for name, shift := range shapes(t) {
		names++
		t.Run(name, func(t *testing.T) {
			r := encode(t, a, shift)
			got := map[string]string{
				".hex": "key\n" + hex.Dump(r.Key) + "value\n" + hex.Dump(r.Value),
				".json": asJSON(t, map[string]any{
					"key": decode(t, schemas.Key("slots"), r.Key), "value": decode(t, schemas.Value("slots"), r.Value),
				}),
			}
			for ext, got := range got {
				path := filepath.Join("testdata", "golden", name+ext)
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s:\n%s\nwant:\n%s", path, got, want)
				}
			}
		})
	}
	if files, _ := filepath.Glob("testdata/golden/*.hex"); len(files) != names {
		t.Errorf("%d golden records, want %d", len(files), names)
	}
}

// TestSample2018 writes the sample's bytes by hand, from the Avro specification and the values that slot_sync's own
// test expects.
func TestSample2018(t *testing.T) {
	var body []byte
	long := func(v int64) { body = binary.AppendVarint(body, v) } // zigzag, as Avro's
	str := func(v string) { long(int64(len(v))); body = append(body, v...) }
	boolean := func(v byte) { body = append(body, v) }
	long(77967)                 // account_id
	long(1)                     // acknowledged
	long(1)                     // acknowledged_at: the second branch
	str("2018-10-01T14:27:30Z") //
	boolean(0)                  // actionable
	boolean(0)                  // alerted
	long(0)                     // block_id
	long(0)                     // break_time
	str("74a611")               // color
	str("2018-09-26T11:24:58Z") // created_at
	long(5526232)               // creator_id
	str("2018-10-07T23:15:00Z") // end_time
	long(2076303948)            // id
	long(0)                     // instances
	boolean(0)                  // is_open
	long(0)                     // linked_users: null
	long(3999871)               // location_id
	str("")                     // notes
	long(1)                     // notified_at: the second branch
	str("2018-10-02T21:32:58Z") //
	long(709909)                // position_id
	boolean(1)                  // published
	str("2018-09-26T15:59:05Z") // published_date
	str("")                     // shiftchain_key
	long(3530221)               // site_id
	str("2018-10-07T20:00:00Z") // start_time
	str("2018-10-01T14:27:30Z") // updated_at
	long(29205212)              // user_id

	a, _ := encoderWith(t, schemas.Value2018("slots"))
	r := encode(t, a, sample2018(t))
	if got, want := fmt.Sprintf("%x", r.Value), fmt.Sprintf("%x", append([]byte{0, 0, 0, 0, 2}, body...)); got != want {
		t.Errorf("value under the schema of slot_sync:\n%s\nwant\n%s", got, want)
	}
	if got, want := fmt.Sprintf("%x", r.Key), fmt.Sprintf("%x", binary.AppendVarint([]byte{0, 0, 0, 0, 1}, 2076303948)); got != want {
		t.Errorf("key %s, want %s", got, want)
	}
	if r.Fingerprint != shiftsync.FingerprintOf(body) {
		t.Error("the fingerprint is not that of the body")
	}

	a, _ = encoderWith(t, schemas.Value("slots"))
	r = encode(t, a, sample2018(t))
	want := append(append([]byte{0, 0, 0, 0, 2}, body...), make([]byte, 8)...) // the new fields: null is branch 0
	if got, want := fmt.Sprintf("%x", r.Value), fmt.Sprintf("%x", want); got != want {
		t.Errorf("value under the full schema:\n%s\nwant\n%s", got, want)
	}
}

func TestATombstoneHasAKeyAndNothingElse(t *testing.T) {
	var r shiftsync.Record
	unprepared := newAvro(t, srfake.NewRegistry().Handler(), "slots", publish.AvroOptions{})
	if buf, err := unprepared.Tombstone(7, []byte("x"), &r); err == nil || string(buf) != "x" {
		t.Errorf("before the first Prepare: %q, %v", buf, err)
	}
	a, _ := encoderWith(t, schemas.Value("slots"))
	shift := sample2018(t)
	want := encode(t, a, shift)
	r = want // what an earlier one has left
	buf, err := a.Tombstone(shift.ID, []byte("what was there"), &r)
	if err != nil || string(buf) != "what was there"+string(want.Key) || string(r.Key) != string(want.Key) || r.Value != nil || r.ID != shift.ID {
		t.Errorf("got %q and %+v, %v", buf, r, err)
	}
	if v := (shiftsync.Version{Fingerprint: shiftsync.FingerprintOf(nil), Schema: want.Schema}); r.Version != v || !r.Tombstone() || want.Tombstone() {
		t.Errorf("got version %+v, want %+v", r.Version, v)
	}
}

func TestEncodeAppends(t *testing.T) {
	a, _ := encoderWith(t, schemas.Value("slots"))
	shift := sample2018(t)
	want := encode(t, a, shift)

	before := []byte("what was there")
	r := shiftsync.Record{Version: shiftsync.Version{Raw: 42}}
	buf, err := a.Encode(&shift, before[:len(before):len(before)], &r)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(buf), string(before)+string(want.Key)+string(want.Value); got != want {
		t.Errorf("buffer %q, want %q", got, want)
	}
	if string(r.Key) != string(want.Key) || string(r.Value) != string(want.Value) {
		t.Error("key or value is wrong after the buffer has grown")
	}
	if &r.Key[0] != &buf[len(before)] || &r.Value[0] != &buf[len(before)+len(r.Key)] {
		t.Error("key or value does not point into the buffer that was returned")
	}
	_ = append(r.Key, 0xff)
	if string(r.Value) != string(want.Value) {
		t.Error("appending to the key writes over the value")
	}
	want.Raw = 42
	if r.Version != want.Version || r.ID != shift.ID || r.Schema != 2 || !r.UpdatedAt.Equal(shift.UpdatedAt) || !r.EndTime.Equal(shift.EndTime) || !r.StartTime.Equal(shift.StartTime) {
		t.Errorf("version %+v of %d, want %+v", r.Version, r.ID, want.Version)
	}

	shift.BreakTime = math.NaN()
	kept := r
	buf, err = a.Encode(&shift, before, &r)
	if err == nil || string(buf) != string(before) || !reflect.DeepEqual(r, kept) {
		t.Errorf("a bad shift: buffer %q, record %+v, error %v; want both as they were", buf, r, err)
	}
}

func TestValues(t *testing.T) {
	const day = "Mon, 01 Oct 2018 15:27:30 +0100"
	for _, tt := range []struct {
		name   string
		change func(*shiftsync.Shift)
		field  string
		want   any // nil: null
		err    string
	}{
		{name: "a date that is null stays null", change: func(s *shiftsync.Shift) { s.AcknowledgedAt = time.Time{} }, field: "acknowledged_at"},
		{name: "a missing date without null is empty", change: func(s *shiftsync.Shift) { s.PublishedDate = time.Time{} }, field: "published_date", want: ""},
		{name: "a missing end is empty", change: func(s *shiftsync.Shift) { s.EndTime = time.Time{} }, field: "end_time", want: ""},
		{name: "dates are in UTC", change: func(s *shiftsync.Shift) { s.StartTime = at(t, day) }, field: "start_time", want: "2018-10-01T14:27:30Z"},
		{name: "fractions of a second are dropped", change: func(s *shiftsync.Shift) { s.StartTime = at(t, day).Add(time.Second - 1) }, field: "start_time", want: "2018-10-01T14:27:30Z"},
		{name: "a date beyond four digits is refused", change: func(s *shiftsync.Shift) { s.UpdatedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, err: "updated_at: not a date"},
		{name: "a date before year 0 is refused", change: func(s *shiftsync.Shift) { s.NotifiedAt = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }, err: "notified_at: not a date"},
		{name: "acknowledged is 1", change: func(s *shiftsync.Shift) { s.Acknowledged = true }, field: "acknowledged", want: int64(1)},
		{name: "not acknowledged is 0", change: func(s *shiftsync.Shift) { s.Acknowledged = false }, field: "acknowledged", want: int64(0)},
		{name: "linked_users is null whoever is linked", change: func(s *shiftsync.Shift) { s.LinkedUserIDs = []int64{1} }, field: "linked_users"},
		{name: "half an hour is no whole hour", change: func(s *shiftsync.Shift) { s.BreakTime = 0.5 }, field: "break_time", want: int64(0)},
		{name: "hours are truncated", change: func(s *shiftsync.Shift) { s.BreakTime = 1.99 }, field: "break_time", want: int64(1)},
		{name: "negative hours are truncated towards 0", change: func(s *shiftsync.Shift) { s.BreakTime = -1.99 }, field: "break_time", want: int64(-1)},
		{name: "the largest hours", change: func(s *shiftsync.Shift) { s.BreakTime = 0x1p63 - 1024 }, field: "break_time", want: int64(math.MaxInt64 - 1023)},
		{name: "hours beyond a long are refused", change: func(s *shiftsync.Shift) { s.BreakTime = 0x1p63 }, err: "break_time: not a number of hours"},
		{name: "hours that are no number are refused", change: func(s *shiftsync.Shift) { s.BreakTime = math.NaN() }, err: "break_time: not a number of hours"},
		{name: "infinite hours are refused", change: func(s *shiftsync.Shift) { s.BreakTime = math.Inf(-1) }, err: "break_time: not a number of hours"},
		{name: "infinite exact hours are refused", change: func(s *shiftsync.Shift) { s.BreakTimeHours = shiftsync.Some(math.Inf(1)) }, err: "break_time_hours: not a number of hours"},
		{name: "exact hours that are no number are refused", change: func(s *shiftsync.Shift) { s.BreakTimeHours = shiftsync.Some(math.NaN()) }, err: "break_time_hours: not a number of hours"},
		{name: "exact hours keep their fraction", change: func(s *shiftsync.Shift) { s.BreakTimeHours = shiftsync.Some(0.75) }, field: "break_time_hours", want: 0.75},
		{name: "exact hours not told", change: func(s *shiftsync.Shift) {}, field: "break_time_hours"},
		{name: "what is no UTF-8 is replaced", change: func(s *shiftsync.Shift) { s.Notes = "a\xff\xfeb" }, field: "notes", want: "a\uFFFDb"},
		{name: "a flag that is false is not null", change: func(s *shiftsync.Shift) { s.IsShared = shiftsync.Some(false) }, field: "is_shared", want: false},
		{name: "a flag not told is null", change: func(s *shiftsync.Shift) {}, field: "is_shared"},
		{name: "a request id of 0 is not null", change: func(s *shiftsync.Shift) { s.OpenshiftApprovalRequestID = shiftsync.Some(int64(0)) }, field: "openshift_approval_request_id", want: int64(0)},
		{name: "no linked users is not everyone", change: func(s *shiftsync.Shift) { s.LinkedUserIDs = []int64{} }, field: "linked_user_ids", want: []any{}},
		{name: "everyone is null", change: func(s *shiftsync.Shift) {}, field: "linked_user_ids"},
		{name: "no breaks is not null", change: func(s *shiftsync.Shift) { s.Breaks = []shiftsync.Break{} }, field: "breaks", want: []any{}},
		{name: "an id beyond 53 bits is kept", change: func(s *shiftsync.Shift) { s.UserID = math.MaxInt64 }, field: "user_id", want: int64(math.MaxInt64)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := encoderWith(t, schemas.Value("slots"))
			shift := sample2018(t)
			tt.change(&shift)
			// Encoded after another shift, since the encoder fills what it has filled before.
			encode(t, a, shapes(t)["2025"])
			var r shiftsync.Record
			_, err := a.Encode(&shift, nil, &r)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := decode(t, schemas.Value("slots"), r.Value)[tt.field]; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%s is %#v, want %#v", tt.field, got, tt.want)
			}
		})
	}
}

func TestTheTwoZerosAreEqualHours(t *testing.T) {
	one, _ := encoderWith(t, schemas.Value("slots"))
	another, _ := encoderWith(t, schemas.Value("slots"))
	plus, minus := sample2018(t), sample2018(t)
	plus.BreakTimeHours = shiftsync.Some(0.0)
	minus.BreakTimeHours = shiftsync.Some(math.Copysign(0, -1))
	if encode(t, one, plus).Fingerprint != encode(t, another, minus).Fingerprint {
		t.Error("fingerprints differ")
	}
}

func TestRandomShiftsComeBack(t *testing.T) {
	for name, schema := range map[string]string{"full": schemas.Value("slots"), "2018": schemas.Value2018("slots")} {
		t.Run(name, func(t *testing.T) {
			a, _ := encoderWith(t, schema)
			random := rand.New(rand.NewPCG(1, 2))
			var buf []byte
			shifts := make([]shiftsync.Shift, 300)
			records := make([]shiftsync.Record, len(shifts))
			for i := range shifts {
				shifts[i] = randomShift(random)
				var err error
				if buf, err = a.Encode(&shifts[i], buf, &records[i]); err != nil {
					t.Fatal(err)
				}
			}
			for i, s := range shifts { // only now: what was encoded later must not have changed it
				if got := decode(t, schemas.Key("slots"), records[i].Key); !reflect.DeepEqual(got, map[string]any{"id": s.ID}) {
					t.Fatalf("key %v, want %d", got, s.ID)
				}
				if got, want := decode(t, schema, records[i].Value), published(s, name == "2018"); !reflect.DeepEqual(got, want) {
					t.Fatalf("shift %d: %s\nwant %s", i, asJSON(t, got), asJSON(t, want))
				}
			}
		})
	}
}

func randomShift(r *rand.Rand) shiftsync.Shift {
	maybe := func() bool { return r.IntN(2) == 0 }
	instant := func() time.Time {
		if r.IntN(4) == 0 {
			return time.Time{}
		}
		return time.Unix(r.Int64N(4e9), r.Int64N(1e9)).In(time.FixedZone("", r.IntN(86400)-43200))
	}
	str := func() string {
		b := make([]byte, r.IntN(80))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	number := func() int64 { return int64(r.Uint64()) >> r.IntN(64) }
	s := shiftsync.Shift{
		AccountID: number(), Acknowledged: maybe(), AcknowledgedAt: instant(), Actionable: maybe(), Alerted: maybe(),
		BlockID: number(), BreakTime: float64(r.IntN(40)) / 4, Color: str(), CreatedAt: instant(), CreatorID: number(),
		EndTime: instant(), ID: number(), Instances: number(), IsOpen: maybe(), LocationID: number(), Notes: str(),
		NotifiedAt: instant(), PositionID: number(), Published: maybe(), PublishedDate: instant(), ShiftchainKey: str(),
		SiteID: number(), StartTime: instant(), UpdatedAt: instant(), UserID: number(),
	}
	if maybe() {
		s.BreakTimeHours = shiftsync.Some(float64(r.IntN(100)) / 8)
		s.IsShared, s.IsTrimmed = shiftsync.Some(maybe()), shiftsync.Some(maybe())
		s.RequiresOpenshiftApproval, s.IsApprovedWithoutTime = shiftsync.Some(maybe()), shiftsync.Some(maybe())
		s.OpenshiftApprovalRequestID = shiftsync.Some(number())
	}
	if maybe() {
		s.LinkedUserIDs = []int64{}
		for range r.IntN(4) {
			s.LinkedUserIDs = append(s.LinkedUserIDs, number())
		}
	}
	if maybe() {
		s.Breaks = []shiftsync.Break{}
		for range r.IntN(4) {
			s.Breaks = append(s.Breaks, shiftsync.Break{
				ID: number(), LengthSeconds: number(), Paid: maybe(), StartTime: instant(), EndTime: instant(), Sort: number(),
			})
		}
	}
	return s
}

func TestEqualContentEqualFingerprint(t *testing.T) {
	one, _ := encoderWith(t, schemas.Value("slots"))
	another, _ := encoderWith(t, schemas.Value("slots"))
	for name, shift := range shapes(t) {
		want := encode(t, one, shift).Fingerprint
		shift.StartTime = shift.StartTime.In(time.FixedZone("elsewhere", 3600)) // the same instant
		encode(t, another, sample2018(t))
		if got := encode(t, another, shift).Fingerprint; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestEveryFieldCounts changes one field at a time, so that a field added to Shift and not to the schema fails it.
func TestEveryFieldCounts(t *testing.T) {
	a, _ := encoderWith(t, schemas.Value("slots"))
	shift := shapes(t)["2025"]
	want := encode(t, a, shift).Fingerprint
	fields := 0
	check := func(name string, changed shiftsync.Shift) {
		fields++
		if encode(t, a, changed).Fingerprint == want {
			t.Errorf("%s changes nothing", name)
		}
	}
	for i := range reflect.TypeFor[shiftsync.Shift]().NumField() {
		name := reflect.TypeFor[shiftsync.Shift]().Field(i).Name
		changed := shift
		changeValue(t, reflect.ValueOf(&changed).Elem().Field(i))
		check(name, changed)
		if o := reflect.ValueOf(&changed).Elem().Field(i); o.Kind() == reflect.Struct && o.Type() != reflect.TypeFor[time.Time]() {
			o.SetZero()
			check(name+" left out", changed)
		}
	}
	for i := range reflect.TypeFor[shiftsync.Break]().NumField() {
		changed := shift
		changed.Breaks = append([]shiftsync.Break(nil), shift.Breaks...)
		changeValue(t, reflect.ValueOf(&changed.Breaks[0]).Elem().Field(i))
		check("Break."+reflect.TypeFor[shiftsync.Break]().Field(i).Name, changed)
	}
	if fields < 34+6 {
		t.Errorf("%d fields looked at", fields)
	}
}

func changeValue(t *testing.T, v reflect.Value) {
	switch at := v.Addr().Interface().(type) {
	case *int64:
		*at++
	case *float64:
		*at++
	case *bool:
		*at = !*at
	case *string:
		*at += "x"
	case *time.Time:
		if at.IsZero() {
			*at = time.Unix(0, 0)
		}
		*at = at.Add(time.Second)
	case *[]int64:
		*at = (*at)[:1]
	case *[]shiftsync.Break:
		*at = (*at)[:1]
	default:
		if v.Kind() != reflect.Struct {
			t.Fatalf("do not know how to change a %s", v.Type())
		}
		changeValue(t, v.FieldByName("Value"))
	}
}

// TestOtherSchemas writes with schemas that somebody made by hand.
func TestOtherSchemas(t *testing.T) {
	record := func(fields string) string {
		return `{"type": "record", "name": "slot", "namespace": "slots", "fields": [` + fields + `]}`
	}
	shift := shapes(t)["2025"]
	for _, tt := range []struct {
		name, fields string
		want         map[string]any // nil: it cannot be filled
		why          string         // then
	}{
		{name: "fewer fields in another order", fields: `{"name": "notes", "type": "string"}, {"name": "id", "type": "long"}`, want: map[string]any{"id": shift.ID, "notes": shift.Notes}},
		{name: "null last", fields: `{"name": "color", "type": ["string", "null"]}`, want: map[string]any{"color": shift.Color}},
		{name: "a date with null last", fields: `{"name": "notified_at", "type": ["string", "null"]}`, want: map[string]any{"notified_at": nil}},
		{name: "a union of one", fields: `{"name": "color", "type": ["string"]}`, want: map[string]any{"color": shift.Color}},
		{name: "types as objects with properties of Java", fields: `{"name": "color", "type": {"type": "string", "avro.java.string": "String"}}`, want: map[string]any{"color": shift.Color}},
		{name: "an int holds small numbers", fields: `{"name": "instances", "type": "int"}`, want: map[string]any{"instances": 3}},
		{name: "acknowledged as a boolean", fields: `{"name": "acknowledged", "type": "boolean"}`, want: map[string]any{"acknowledged": false}},
		{name: "a flag as a number", fields: `{"name": "is_open", "type": "int"}`, want: map[string]any{"is_open": 1}},
		{name: "break_time as a double keeps fractions", fields: `{"name": "break_time", "type": "double"}`, want: map[string]any{"break_time": 1.5}},
		{name: "linked_users without null", fields: `{"name": "linked_users", "type": "string"}`, want: map[string]any{"linked_users": ""}},
		{name: "a new field without null", fields: `{"name": "is_shared", "type": "boolean"}`, want: map[string]any{"is_shared": false}},
		{name: "an unknown field with a default", fields: `{"name": "id", "type": "long"}, {"name": "team", "type": "string", "default": "red"}`, want: map[string]any{"id": shift.ID, "team": "red"}},
		{name: "an unknown field with default null", fields: `{"name": "id", "type": "long"}, {"name": "team", "type": ["null", "string"], "default": null}`, want: map[string]any{"id": shift.ID, "team": nil}},
		{name: "an unknown number with a default", fields: `{"name": "rate", "type": ["double", "null"], "default": 1.5}`, want: map[string]any{"rate": 1.5}},
		{name: "an unknown list with a default", fields: `{"name": "tags", "type": {"type": "array", "items": "string"}, "default": ["a", "b"]}`, want: map[string]any{"tags": []any{"a", "b"}}},
		{
			name:   "an unknown field of a type that stands elsewhere, with default null",
			fields: `{"name": "a", "type": {"type": "enum", "name": "e", "symbols": ["x"]}, "default": "x"}, {"name": "b", "type": ["null", "e"], "default": null}`,
			want:   map[string]any{"a": "x", "b": nil},
		},
		{
			name:   "an unknown field of a type that stands elsewhere, with another default",
			fields: `{"name": "a", "type": {"type": "enum", "name": "e", "symbols": ["x"]}, "default": "x"}, {"name": "b", "type": "e", "default": "x"}`,
			why:    "field b is not known, and its default is of a type that is defined elsewhere",
		},
		{
			name:   "breaks with fewer fields under another name",
			fields: `{"name": "breaks", "type": {"type": "array", "items": {"type": "record", "name": "pause", "fields": [{"name": "sort", "type": "long"}, {"name": "paid", "type": "boolean"}]}}}`,
			want: map[string]any{"breaks": []any{
				map[string]any{"sort": int64(0), "paid": false}, map[string]any{"sort": int64(1), "paid": true},
			}},
		},
		{name: "an unknown field without default", fields: `{"name": "team", "type": "string"}`, why: "field team is not known and has no default"},
		{name: "an id that is an int", fields: `{"name": "id", "type": "int"}`, why: "field id"},
		{name: "a date as a number", fields: `{"name": "start_time", "type": {"type": "long", "logicalType": "timestamp-millis"}}`, why: "field start_time"},
		{name: "a number with another meaning", fields: `{"name": "user_id", "type": {"type": "long", "logicalType": "timestamp-millis"}}`, why: "field user_id"},
		{name: "a name of a type", fields: `{"name": "color", "type": {"type": "enum", "name": "c", "symbols": ["a"]}}, {"name": "notes", "type": "c"}`, why: "field color"},
		{name: "a default that does not fit", fields: `{"name": "team", "type": ["null", "string"], "default": "red"}`, why: "avro schema"},
		{name: "no fields of ours but a type that is none", fields: `{"name": "team", "type": 7, "default": 1}`, why: "not a type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			schema := record(tt.fields)
			if tt.want == nil {
				fake := srfake.NewRegistry()
				fake.SeedSchema("slots-key", 1, 1, sr.Schema{Schema: schemas.Key("slots")})
				fake.SeedSchema("slots-value", 1, 2, sr.Schema{Schema: schema})
				_, err := newAvro(t, fake.Handler(), "slots", publish.AvroOptions{}).Prepare(t.Context(), false)
				if err == nil || !strings.Contains(err.Error(), tt.why) {
					t.Errorf("error %v, want %s", err, tt.why)
				}
				return
			}
			a, _ := encoderWith(t, schema)
			if got := decode(t, schema, encode(t, a, shift).Value); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%#v, want %#v", got, tt.want)
			}
		})
	}

	t.Run("an int refuses what it cannot hold, and the error does not quote it", func(t *testing.T) {
		a, _ := encoderWith(t, record(`{"name": "user_id", "type": "int"}`))
		shift := sample2018(t)
		shift.UserID = 1 << 31
		var r shiftsync.Record
		_, err := a.Encode(&shift, nil, &r)
		if err == nil || err.Error() != "user_id: too large for an int" {
			t.Errorf("error %v", err)
		}
	})
}

func TestEncodeBeforePrepare(t *testing.T) {
	a := newAvro(t, srfake.NewRegistry().Handler(), "slots", publish.AvroOptions{})
	var r shiftsync.Record
	if buf, err := a.Encode(&shiftsync.Shift{ID: 1}, []byte("x"), &r); err == nil || string(buf) != "x" {
		t.Errorf("buffer %q, error %v; want an error", buf, err)
	}
}

func TestFingerprintUnderAnEarlierSchema(t *testing.T) {
	shift := shapes(t)["2025"]
	old, _ := encoderWith(t, schemas.Value2018("slots"))
	want := encode(t, old, shift).Fingerprint

	a, fake := encoderWith(t, schemas.Value("slots"))
	fake.SeedSchema("slots-old", 1, 3, sr.Schema{Schema: schemas.Value2018("slots")})
	fake.SeedSchema("slots-other", 1, 4, sr.Schema{Schema: `"string"`})
	now := encode(t, a, shift)

	asked := countRequests(fake)
	for range 3 {
		got, err := a.Fingerprint(t.Context(), &shift, 3)
		if err != nil || got != want {
			t.Fatalf("%s, %v; want %s", got, err, want)
		}
	}
	if got, err := a.Fingerprint(t.Context(), &shift, now.Schema); err != nil || got != now.Fingerprint {
		t.Errorf("under the schema in use: %s, %v; want %s", got, err, now.Fingerprint)
	}
	if got := encode(t, a, shift).Fingerprint; got != now.Fingerprint {
		t.Errorf("Encode gives %s after it, want %s", got, now.Fingerprint)
	}
	for range 3 {
		if _, err := a.Fingerprint(t.Context(), &shift, 5); err == nil || !strings.Contains(err.Error(), "schema 5") {
			t.Errorf("a schema that is not there: error %v", err)
		}
		if _, err := a.Fingerprint(t.Context(), &shift, 4); err == nil || !strings.Contains(err.Error(), "not a record") {
			t.Errorf("a schema of something else: error %v", err)
		}
	}
	if got := asked(); got != 3 {
		t.Errorf("the registry was asked %d times, want once for each schema", got)
	}

	fake.SeedSchema("slots-late", 1, 5, sr.Schema{Schema: schemas.Value2018("slots")})
	prepare(t, a)
	if got, err := a.Fingerprint(t.Context(), &shift, 5); err != nil || got != want {
		t.Errorf("after the next Prepare: %s, %v; want %s", got, err, want)
	}
	for id := range shiftsync.SchemaID(40) { // more than are kept
		fake.SeedSchema("slots-old", 10+int(id), 100+int(id), sr.Schema{Schema: schemas.Value2018("slots")})
		if got, err := a.Fingerprint(t.Context(), &shift, 100+id); err != nil || got != want {
			t.Fatalf("schema %d: %s, %v; want %s", 100+id, got, err, want)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add(uint64(1), "notes", 0.5, int64(1<<40), int64(0), []byte("ab"))
	f.Add(uint64(2), "\xff\xfe", math.Inf(1), int64(-1), int64(math.MaxInt64), []byte{})
	f.Add(uint64(3), "", math.NaN(), int64(0), int64(math.MinInt64), []byte(nil))
	full, _ := encoderWith(f, schemas.Value("slots"))
	old, _ := encoderWith(f, schemas.Value2018("slots"))
	f.Fuzz(func(t *testing.T, seed uint64, notes string, hours float64, id, seconds int64, more []byte) {
		s := randomShift(rand.New(rand.NewPCG(seed, 0)))
		s.Notes, s.Color, s.BreakTime, s.ID = notes, string(more), hours, id
		s.UpdatedAt = time.Unix(seconds, 0)
		for _, b := range more {
			s.Breaks = append(s.Breaks, shiftsync.Break{ID: int64(b), Paid: b%2 == 0, StartTime: time.Unix(int64(b), 0)})
		}
		year := s.UpdatedAt.UTC().Year()
		good := hours > -0x1p63 && hours < 0x1p63 && year >= 0 && year <= 9999
		for name, a := range map[string]*publish.Avro{"full": full, "2018": old} {
			var r, again shiftsync.Record
			_, err := a.Encode(&s, nil, &r)
			if !good {
				if err == nil {
					t.Errorf("%s: no error for hours %v or year %d", name, hours, year)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			schema := map[string]string{"full": schemas.Value("slots"), "2018": schemas.Value2018("slots")}[name]
			if got, want := decode(t, schema, r.Value), published(s, name == "2018"); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s\nwant %s", name, asJSON(t, got), asJSON(t, want))
			}
			if got := throughLibrary(t, schema, r.Value); !bytes.Equal(got, r.Value) {
				t.Errorf("%s: wrote %x, the library would %x", name, r.Value, got)
			}
			if _, err := a.Encode(&s, nil, &again); err != nil || again.Fingerprint != r.Fingerprint {
				t.Errorf("%s: encoded again, error %v, fingerprint %s, want %s", name, err, again.Fingerprint, r.Fingerprint)
			}
		}
	})
}

// throughLibrary returns what the library writes for what it reads.
func throughLibrary(t testing.TB, schema string, wire []byte) []byte {
	t.Helper()
	codec, err := goavro.NewCodec(schema)
	if err != nil {
		t.Fatal(err)
	}
	native, rest, err := codec.NativeFromBinary(wire[5:])
	if err != nil || len(rest) > 0 {
		t.Fatalf("read: %d bytes are left, %v", len(rest), err)
	}
	written, err := codec.BinaryFromNative(slices.Clone(wire[:5]), native)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

// FuzzSchema gives the encoder any text as the only value schema there is.
func FuzzSchema(f *testing.F) {
	f.Add(schemas.Value("slots"))
	f.Add(schemas.Value2018(""))
	f.Add(`{"type": "record", "name": "slot", "fields": [{"name": "breaks", "type": {"type": "array", "items": {"type": "record", "name": "b", "fields": [{"name": "next", "type": ["null", "b"], "default": null}]}}}]}`)
	f.Add(`{"type": {"type": {"type": "record"}}}`)
	f.Fuzz(func(t *testing.T, schema string) {
		fake := srfake.NewRegistry()
		fake.SeedSchema("slots-key", 1, 1, sr.Schema{Schema: keyLong})
		fake.SeedSchema("slots-value", 1, 2, sr.Schema{Schema: schemas.Value2018("slots")})
		fake.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			value := strings.HasPrefix(req.URL.Path, "/subjects/slots-value/versions/")
			if value {
				_ = json.NewEncoder(w).Encode(map[string]any{"id": 2, "version": 1, "schema": schema})
			}
			return value
		})
		a := newAvro(t, fake.Handler(), "slots", publish.AvroOptions{})
		if _, err := a.Prepare(t.Context(), false); err != nil {
			return
		}
		for name, shift := range shapes(t) {
			var r shiftsync.Record
			if _, err := a.Encode(&shift, nil, &r); err != nil && !strings.Contains(err.Error(), "too large for an int") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"full", "2018"} {
		b.Run(name, func(b *testing.B) {
			schema := map[string]string{"full": schemas.Value("slots"), "2018": schemas.Value2018("slots")}[name]
			a, _ := encoderWith(b, schema)
			shifts := make([]shiftsync.Shift, 500)
			for i := range shifts {
				shifts[i] = sample2018(b)
				shifts[i].ID += int64(i)
				shifts[i].UserID += int64(i % 90)
				shifts[i].StartTime = shifts[i].StartTime.Add(time.Duration(i) * time.Hour)
				shifts[i].EndTime = shifts[i].EndTime.Add(time.Duration(i) * time.Hour)
				shifts[i].UpdatedAt = shifts[i].UpdatedAt.Add(time.Duration(i) * time.Minute)
				shifts[i].Notes = strings.Repeat("n", i%40)
				shifts[i].BreakTimeHours = shiftsync.Some(0.5)
				shifts[i].IsShared = shiftsync.Some(false)
				shifts[i].Breaks = []shiftsync.Break{{ID: -shifts[i].ID, LengthSeconds: 1800}}
			}
			var buf []byte
			var r shiftsync.Record
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if i == len(shifts) {
					i, buf = 0, buf[:0]
				}
				var err error
				if buf, err = a.Encode(&shifts[i], buf, &r); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "shifts/s")
		})
	}
}
