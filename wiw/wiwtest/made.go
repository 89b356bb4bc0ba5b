package wiwtest

import (
	"fmt"
	"math/rand/v2"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// epoch is when the made-up time begins.
var epoch = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// Epoch returns the instant at which the span of the made-up shifts begins by default.
func Epoch() time.Time { return epoch }

var (
	zones = [...]*time.Location{
		time.FixedZone("", 3600), time.FixedZone("", -5*3600), time.UTC, time.FixedZone("", 5*3600+1800),
	}
	colors = [...]string{"74a611", "cc0000", "42a5f5", "cc000"}
	remark = [...]string{"", "", "", "Till 3, opens the back door", "Übergabe / hand over at 6",
		"line one\nline two", `{"covering":"late"}`, "☕ then stock 🧺"}
)

// ids of made-up shifts begin here: the first thousands fit 31 bits, as those of 2018 did, later ones do not.
const firstID = 1<<31 - 500

// Made returns the i-th made-up shift of a seed, which starts between from and to, and its shape. Equal arguments
// give equal shifts. Every 64th has an id beyond 32 bits; some are open, some not published.
func Made(seed uint64, i int, from, to time.Time) (shiftsync.Shift, Shape) {
	r := rand.New(rand.NewPCG(seed, uint64(i)))
	sh := Shape(r.IntN(int(shapes)))
	span := max(int64(to.Sub(from)/(15*time.Minute)), 1)
	start := from.Add(time.Duration(r.Int64N(span)) * 15 * time.Minute).UTC().Truncate(time.Second)
	created := start.Add(-time.Duration(48+r.IntN(700)) * time.Hour)
	s := shiftsync.Shift{
		ID:            firstID + int64(i),
		AccountID:     77000,
		UserID:        1000 + int64(r.IntN(40)),
		LocationID:    300 + int64(r.IntN(3)),
		PositionID:    int64(r.IntN(5)),
		SiteID:        int64(r.IntN(2)),
		StartTime:     start,
		EndTime:       start.Add(time.Duration(4+r.IntN(20)) * 30 * time.Minute),
		BreakTime:     float64(r.IntN(4)) / 2,
		Color:         colors[r.IntN(len(colors))],
		Notes:         remark[r.IntN(len(remark))],
		Alerted:       r.IntN(8) == 0,
		Published:     r.IntN(20) != 0,
		Instances:     int64(r.IntN(2)),
		CreatedAt:     created,
		UpdatedAt:     created.Add(time.Duration(r.IntN(40)) * time.Hour),
		CreatorID:     1000,
		BlockID:       int64(r.IntN(2) * 71),
		Actionable:    r.IntN(2) == 0,
		ShiftchainKey: []string{"", "4hbpny", "1l6wxcm"}[r.IntN(3)],
	}
	if i%64 == 63 {
		s.ID += 1 << 33
	}
	if s.Published {
		s.PublishedDate = created.Add(time.Hour)
	}
	if r.IntN(2) == 0 {
		s.NotifiedAt = created.Add(2 * time.Hour)
	}
	if r.IntN(2) == 0 {
		s.Acknowledged = true
		if r.IntN(4) != 0 { // it happens without a date
			s.AcknowledgedAt = created.Add(3 * time.Hour)
		}
	}
	if r.IntN(12) == 0 && sh != Shape2014 {
		s.IsOpen, s.UserID, s.Instances = true, 0, 3
		s.LinkedUserIDs = []int64{1001, 1002}
	}
	if sh == Shape2025 && s.BreakTime > 0 {
		b := shiftsync.Break{ID: -s.ID, LengthSeconds: int64(s.BreakTime * 3600)}
		if r.IntN(2) == 0 {
			b.Paid, b.StartTime, b.EndTime = true, start.Add(time.Hour), start.Add(90*time.Minute)
		}
		s.Breaks = []shiftsync.Break{b}
	}
	return sh.Fit(s), sh
}

// change returns s as somebody might edit it, the n-th time.
func change(s shiftsync.Shift, n int, sh Shape) shiftsync.Shift {
	s.UpdatedAt = s.UpdatedAt.Add(time.Minute)
	s.Notes = fmt.Sprintf("edited %d", n)
	s.EndTime = s.EndTime.Add(time.Duration(1-2*(n%2)) * 15 * time.Minute)
	return sh.Fit(s)
}
