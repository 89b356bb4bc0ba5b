package wiw_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
	"go.uber.org/goleak"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "made-up-token"

// month is the window of the made-up shifts, longer than one request.
var month = shiftsync.Window{Start: wiwtest.Epoch(), End: wiwtest.Epoch().AddDate(0, 0, 30)}

// newClient returns a client that talks to h without a socket, unless cfg says where to.
func newClient(t *testing.T, h http.Handler, cfg wiw.Config) *wiw.Client {
	t.Helper()
	if cfg.Token == nil {
		cfg.Token = wiw.StaticToken(token)
	}
	if cfg.URL == "" {
		cfg.URL = "http://api.test"
		cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) { return wiwtest.RoundTrip(h, r) })
	}
	client, err := wiw.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// readAll returns the shifts of a window, those that can be parsed, by id.
func readAll(client *wiw.Client, w shiftsync.Window) (map[int64]shiftsync.Shift, error) {
	got := make(map[int64]shiftsync.Shift)
	err := client.Read(context.Background(), w, func(id int64, _ uint64, raw []byte) error {
		var s shiftsync.Shift
		if err := client.Parse(raw, &s); err != nil {
			return err
		}
		if s.ID != id {
			return errors.New("Read and Parse found different ids")
		}
		got[id] = s
		return nil
	})
	return got, err
}

func sameShifts(t *testing.T, got, want map[int64]shiftsync.Shift) {
	t.Helper()
	if len(want) == 0 {
		t.Fatal("nothing to compare")
	}
	if len(got) != len(want) {
		t.Errorf("got %d shifts, want %d", len(got), len(want))
	}
	for id, w := range want {
		if g := got[id]; !reflect.DeepEqual(g, w) {
			t.Fatalf("shift %d:\n got %+v\nwant %+v", id, g, w)
		}
	}
}

func TestReadGetsWhatIsThere(t *testing.T) {
	for _, tt := range []struct {
		name    string
		plain   bool
		include []string
	}{
		{"by default, published and assigned shifts", false, nil},
		{"without compression", true, nil},
		{"with everything that can be included", false, []string{"open", "allopen", "unpublished", "all_locations"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := wiwtest.New(wiwtest.Options{Seed: 1, Shifts: 500, Token: token, Plain: tt.plain})
			server := httptest.NewServer(fake)
			defer server.Close()
			client := newClient(t, nil, wiw.Config{URL: server.URL, Include: tt.include})
			got, err := readAll(client, month)
			if err != nil {
				t.Fatal(err)
			}
			sameShifts(t, got, fake.Truth(month, tt.include...))

			// What is edited reads as edited.
			ids := fake.Churn(20)
			again, err := readAll(client, month)
			if err != nil {
				t.Fatal(err)
			}
			sameShifts(t, again, fake.Truth(month, tt.include...))
			for _, id := range ids {
				if g, ok := again[id]; ok && reflect.DeepEqual(g, got[id]) {
					t.Errorf("shift %d did not change", id)
				}
			}
		})
	}
}

func TestReadAsksForNothingElse(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{Shifts: 1})
	w := shiftsync.Window{
		Start: time.Date(2026, 3, 2, 1, 30, 0, 250e6, time.FixedZone("", 3600)),
		End:   time.Date(2026, 3, 3, 0, 0, 0, 1, time.UTC),
	}
	if _, err := readAll(newClient(t, fake, wiw.Config{}), w); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(newClient(t, fake, wiw.Config{UserID: 1000, Include: []string{"open", "all_locations"}}), w); err != nil {
		t.Fatal(err)
	}
	requests := fake.Requests()
	if len(requests) != 2 {
		t.Fatalf("got %d requests, want 2", len(requests))
	}
	for i, want := range []string{
		"end=2026-03-03T00%3A00%3A01Z&start=2026-03-02T00%3A30%3A00Z",
		"all_locations=true&end=2026-03-03T00%3A00%3A01Z&include_open=true&start=2026-03-02T00%3A30%3A00Z",
	} {
		r := requests[i]
		if got := r.Query.Encode(); got != want {
			t.Errorf("got query %s, want %s", got, want)
		}
		if r.Path != "/2/shifts" || r.Header.Get("W-Token") != token || r.Header.Get("User-Agent") != "slotsync" ||
			r.Header.Get("Accept-Encoding") != "gzip" || r.Header.Get("Accept") != "application/json" {
			t.Errorf("got %s with %v", r.Path, r.Header)
		}
		if got, want := r.Header.Get("W-UserId"), []string{"", "1000"}[i]; got != want {
			t.Errorf("got user %q, want %q", got, want)
		}
	}
}

func TestLongWindowsAreSplit(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{Seed: 3, Shifts: 400, To: wiwtest.Epoch().AddDate(0, 0, 70)})
	w := shiftsync.Window{Start: wiwtest.Epoch(), End: wiwtest.Epoch().AddDate(0, 0, 70)}
	got, err := readAll(newClient(t, fake, wiw.Config{}), w)
	if err != nil {
		t.Fatal(err)
	}
	sameShifts(t, got, fake.Truth(w))
	want := w.Start
	for _, r := range fake.Requests() {
		if got := r.Query.Get("start"); got != want.Format(time.RFC3339) {
			t.Errorf("got a slice from %s, want %s", got, want)
		}
		want, _ = time.Parse(time.RFC3339, r.Query.Get("end"))
	}
	if n := len(fake.Requests()); n != 3 || !want.Equal(w.End) {
		t.Errorf("got %d requests up to %s, want 3 up to %s", n, want, w.End)
	}
}

func TestReadStopsAtAnErrorOfAdd(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{Shifts: 10})
	enough := errors.New("enough")
	n := 0
	err := newClient(t, fake, wiw.Config{}).Read(context.Background(), month, func(int64, uint64, []byte) error {
		n++
		if n == 3 {
			return enough
		}
		return nil
	})
	if err != enough || n != 3 || len(fake.Requests()) != 1 {
		t.Errorf("got %v after %d shifts in %d requests", err, n, len(fake.Requests()))
	}
}

func TestEmptyWindow(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{})
	_, err := readAll(newClient(t, fake, wiw.Config{}), shiftsync.Window{Start: month.End, End: month.End})
	if !errors.Is(err, shiftsync.ErrEmptyWindow) || len(fake.Requests()) != 0 {
		t.Errorf("got %v and %d requests", err, len(fake.Requests()))
	}
}

func TestNothingInTheWindow(t *testing.T) {
	got, err := readAll(newClient(t, wiwtest.New(wiwtest.Options{}), wiw.Config{}), month)
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestHash(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{Shifts: 50})
	client := newClient(t, fake, wiw.Config{Include: []string{"open", "unpublished"}})
	hashes := func() map[int64]uint64 {
		got := make(map[int64]uint64)
		if err := client.Read(context.Background(), month, func(id int64, hash uint64, _ []byte) error {
			got[id] = hash
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	before := hashes()
	changed := fake.Churn(5)
	after := hashes()
	if len(before) == 0 || len(after) == 0 {
		t.Fatal("nothing to compare")
	}
	for id, hash := range before {
		if now, ok := after[id]; ok && (now != hash) != slices.Contains(changed, id) {
			t.Errorf("shift %d: hash %x, then %x; edited: %v", id, hash, now, slices.Contains(changed, id))
		}
	}
}

// A Parse that reads the same bytes differently has to get to see them again.
func TestTheHashCoversTheVersionOfParse(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{Shifts: 5})
	client := newClient(t, fake, wiw.Config{})
	seen := 0
	check := func(id int64, hash uint64, raw []byte) error {
		seen++
		if want := xxh3.HashSeed(raw, wiw.Translation); hash != want || hash == xxh3.Hash(raw) {
			t.Errorf("shift %d: got hash %x, want %x", id, hash, want)
		}
		return nil
	}
	ids := []int64{}
	err := client.Read(t.Context(), month, func(id int64, hash uint64, raw []byte) error {
		ids = append(ids, id)
		return check(id, hash, raw)
	})
	if err != nil || len(ids) == 0 {
		t.Fatalf("got %d shifts, %v", len(ids), err)
	}
	if err := client.ReadOne(t.Context(), ids[0], check); err != nil || seen != len(ids)+1 {
		t.Errorf("got %d shifts, %v, want one more than %d", seen, err, len(ids))
	}
}

func TestIDs(t *testing.T) {
	for _, tt := range []struct {
		name, json string
		want       int64
	}{
		{"a number", `{"id":7}`, 7},
		{"beyond 32 bits", `{"id":3473997896}`, 3473997896},
		{"the largest", `{"id":9223372036854775807}`, 9223372036854775807},
		{"one too large", `{"id":9223372036854775808}`, 0},
		{"far too large", `{"id":99999999999999999999999}`, 0},
		{"text", `{"id":"7"}`, 7},
		{"text with an escape", `{"id":"\u0037"}`, 7},
		{"the last member", `{"a":"\\","b":[1,{"id":2}],"c":"}\"id\":3","d":-1.5e3 , "id" : 7 }`, 7},
		{"a name with an escape", `{"\u0069d":7}`, 7},
		{"of two, the first", `{"id":7,"id":8}`, 7},
		{"only that of a break", `{"breaks":[{"id":-7}],"x":{"id":8}}`, 0},
		{"missing", `{"user_id":1}`, 0},
		{"null", `{"id":null}`, 0},
		{"zero", `{"id":0}`, 0},
		{"negative", `{"id":-7}`, 0},
		{"a fraction", `{"id":7.5}`, 0},
		{"with an exponent", `{"id":7e1}`, 0},
		{"empty text", `{"id":""}`, 0},
		{"other text", `{"id":"x7"}`, 0},
		{"a flag", `{"id":true}`, 0},
		{"a list", `{"id":[7]}`, 0},
		{"no object", `17`, 0},
		{"null for a shift", `null`, 0},
		{"nothing in it", `{}`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := wiwtest.New(wiwtest.Options{})
			fake.PutJSON(1, month.Start, month.End, tt.json)
			client := newClient(t, fake, wiw.Config{})
			seen := 0
			err := client.Read(context.Background(), month, func(id int64, _ uint64, raw []byte) error {
				seen++
				if id != tt.want || string(raw) != strings.TrimSpace(tt.json) {
					t.Errorf("got id %d of %s, want %d", id, raw, tt.want)
				}
				var s shiftsync.Shift
				if _ = client.Parse(raw, &s); s.ID != tt.want {
					t.Errorf("Parse got id %d, want %d", s.ID, tt.want)
				}
				return nil
			})
			if err != nil || seen != 1 {
				t.Errorf("got %d shifts, %v", seen, err)
			}
		})
	}
}

func TestMemoryDoesNotGrowWithTheAnswer(t *testing.T) {
	const shifts = 30_000 // 20 MB
	client := newClient(t, wiwtest.NewBulk(shifts), wiw.Config{})
	var mem runtime.MemStats
	var first, most uint64
	n := 0
	err := client.Read(context.Background(), month, func(int64, uint64, []byte) error {
		n++
		if n%(shifts/8) == 1 {
			runtime.GC()
			runtime.ReadMemStats(&mem)
			if first == 0 {
				first = mem.HeapAlloc
			}
			most = max(most, mem.HeapAlloc)
		}
		return nil
	})
	if err != nil || n != shifts {
		t.Fatalf("got %d shifts, %v", n, err)
	}
	if most > first+1<<20 {
		t.Errorf("heap grew from %d to %d bytes", first, most)
	}
}

func TestConfigFaultsAreReportedTogether(t *testing.T) {
	_, err := wiw.New(wiw.Config{
		URL: "ftp://user:hunter2@x", Include: []string{"closed"}, UserID: -1, SliceDays: 91, Rate: -1, MaxBytes: -1, Timeout: -1,
	})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"url", "include", "token", "user id", "slice", "rate", "largest answer", "timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want something about %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got a password in %q", err)
	}
}
