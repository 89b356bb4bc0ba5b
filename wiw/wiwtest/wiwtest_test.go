package wiwtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

var month = shiftsync.Window{Start: wiwtest.Epoch(), End: wiwtest.Epoch().AddDate(0, 0, 30)}

func get(t *testing.T, h http.Handler, target string, header ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("W-Token", "t")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := wiwtest.RoundTrip(h, r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestAnswers(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{Token: "t"})
	s, sh := wiwtest.Made(1, 0, month.Start, month.End)
	s.ID, s.StartTime, s.EndTime = 5, month.Start.Add(time.Hour), month.Start.Add(2*time.Hour)
	s.IsOpen, s.Published = false, true
	fake.Put(s, sh)
	fake.Put(s, sh) // replaces it
	const list = "/2/shifts?start=2026-03-02T00:00:00Z&end="
	for _, tt := range []struct {
		name, target string
		header       []string
		status       int
		want, not    string
	}{
		{"overlap", list + "2026-03-02T01:00:01Z", nil, 200, `{"id":5,`, ""},
		{"touching is not overlap", list + "2026-03-02T01:00:00Z", nil, 200, `"shifts":[]}`, `"users"`},
		{"the echo is cut at 90 days", list + "2026-12-02T01:00:00Z", nil, 200, `"end":"Sat, 30 May 2026 19:00:00 -0500"`, ""},
		{"a limit cuts silently", list + "2026-03-03T00:00:00Z&limit=0", nil, 200, `"shifts":[]`, ""},
		{"no window", "/2/shifts", nil, 400, `"error"`, ""},
		{"an empty one", list + "2026-03-02T00:00:00Z", nil, 400, `"error"`, ""},
		{"another token", list + "2026-03-03T00:00:00Z", []string{"W-Token", "x"}, 401, `"code":1000`, ""},
		{"one shift", "/2/shifts/5", nil, 200, `{"shift":{"id":5,`, ""},
		{"an unknown one", "/2/shifts/6", nil, 404, `{"error":"No shift found","code":4005}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := get(t, fake, tt.target, tt.header...)
			if status != tt.status || !strings.Contains(body, tt.want) || tt.not != "" && strings.Contains(body, tt.not) {
				t.Errorf("got %d %s, want %d and %s, not %q", status, body, tt.status, tt.want, tt.not)
			}
			if !json.Valid([]byte(body)) {
				t.Errorf("got invalid JSON: %s", body)
			}
		})
	}
	if !fake.Delete(5) || fake.Delete(5) {
		t.Error("a shift is deleted once")
	}
	if _, body := get(t, fake, list+"2026-03-03T00:00:00Z&deleted=true"); !strings.Contains(body, `"deleted_ids":[5]`) {
		t.Errorf("got %s", body)
	}
}

func TestTruthFollowsTheIncludes(t *testing.T) {
	fake := wiwtest.New(wiwtest.Options{Seed: 2, Shifts: 1000})
	narrow, wide := fake.Truth(month), fake.Truth(month, "open", "unpublished")
	if len(wide) != 1000 || len(narrow) == 0 || len(narrow) >= len(wide) {
		t.Errorf("got %d and %d shifts", len(narrow), len(wide))
	}
	big := 0
	for id, s := range wide {
		if id > 1<<32 {
			big++
		}
		if _, ok := narrow[id]; ok == (s.IsOpen || !s.Published) {
			t.Errorf("shift %d: listed by default: %v; open %v, published %v", id, ok, s.IsOpen, s.Published)
		}
	}
	if big == 0 {
		t.Error("got no id beyond 32 bits")
	}
}

func TestBulk(t *testing.T) {
	const n = 500
	bulk := wiwtest.NewBulk(n)
	client, err := wiw.New(wiw.Config{Token: wiw.StaticToken("t"), Rate: 6000, Transport: transport{bulk}})
	if err != nil {
		t.Fatal(err)
	}
	hashes := func() map[int64]uint64 {
		got := make(map[int64]uint64)
		size := 0
		err := client.Read(t.Context(), month, func(id int64, hash uint64, raw []byte) error {
			var s shiftsync.Shift
			if err := client.Parse(raw, &s); err != nil {
				return err
			}
			if want := bulk.Shift(len(got)); !reflect.DeepEqual(s, want) {
				t.Fatalf("got %+v\nwant %+v", s, want)
			}
			got[id] = hash
			size += len(raw)
			return nil
		})
		if err != nil || len(got) != n {
			t.Fatalf("got %d shifts, %v", len(got), err)
		}
		if mean := size / n; mean < 640 || mean > 700 {
			t.Errorf("got shifts of %d bytes", mean)
		}
		return got
	}
	made := hashes()
	bulk.Render()
	if !reflect.DeepEqual(hashes(), made) {
		t.Error("rendering changed the shifts")
	}
	bulk.Change(100)
	changed := 0
	for id, hash := range hashes() {
		if made[id] != hash {
			changed++
		}
	}
	if changed != n/100 {
		t.Errorf("got %d changes, want %d", changed, n/100)
	}
}

type transport struct{ http.Handler }

func (h transport) RoundTrip(r *http.Request) (*http.Response, error) { return wiwtest.RoundTrip(h, r) }
