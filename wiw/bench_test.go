package wiw_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
	"github.com/slotsync/slotsync/wiw/wiwtest"
)

func BenchmarkRead(b *testing.B) {
	const shifts = 100_000
	bulk := wiwtest.NewBulk(shifts)
	bulk.Render()
	w := shiftsync.Window{Start: wiwtest.Epoch(), End: wiwtest.Epoch().AddDate(0, 0, 30)}
	for name, h := range map[string]http.HandlerFunc{
		"gzip": bulk.ServeHTTP,
		"plain": func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Accept-Encoding")
			bulk.ServeHTTP(w, r)
		},
	} {
		b.Run(name, func(b *testing.B) {
			server := httptest.NewServer(h)
			defer server.Close()
			client, err := wiw.New(wiw.Config{URL: server.URL, Token: wiw.StaticToken("t"), Rate: 1e9})
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				err := client.Read(context.Background(), w, func(id int64, _ uint64, _ []byte) error {
					if id != 0 {
						n++
					}
					return nil
				})
				if err != nil || n != shifts {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(shifts*float64(b.N)/b.Elapsed().Seconds(), "shifts/s")
		})
	}
}

func BenchmarkParse(b *testing.B) {
	client, err := wiw.New(wiw.Config{Token: wiw.StaticToken("t")})
	if err != nil {
		b.Fatal(err)
	}
	for name, sh := range map[string]wiwtest.Shape{"2018": wiwtest.Shape2018, "2025": wiwtest.Shape2025} {
		b.Run(name, func(b *testing.B) {
			s := wiwtest.NewBulk(1).Shift(0)
			s.Breaks = []shiftsync.Break{{ID: -s.ID, LengthSeconds: 1800}}
			raw := sh.Append(nil, &s, time.UTC)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			var into shiftsync.Shift
			for b.Loop() {
				if err := client.Parse(raw, &into); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "shifts/s")
		})
	}
}
