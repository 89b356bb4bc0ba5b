package wiw_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	shiftsync "github.com/slotsync/slotsync/sync"
	"github.com/slotsync/slotsync/wiw"
)

// least is a shift with nothing but what it needs.
const least = `"id":7,"start_time":"Sun, 07 Oct 2018 21:00:00 +0100","end_time":"Mon, 08 Oct 2018 00:15:00 +0100"`

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func leastShift() shiftsync.Shift {
	return shiftsync.Shift{ID: 7, StartTime: at("2018-10-07T20:00:00Z"), EndTime: at("2018-10-07T23:15:00Z")}
}

func TestParseValues(t *testing.T) {
	type s = shiftsync.Shift
	for _, tt := range []struct {
		json string // a member
		want func(*s)
	}{
		{`"acknowledged":1`, func(s *s) { s.Acknowledged = true }},
		{`"acknowledged":true`, func(s *s) { s.Acknowledged = true }},
		{`"acknowledged":"1"`, func(s *s) { s.Acknowledged = true }},
		{`"acknowledged":"true"`, func(s *s) { s.Acknowledged = true }},
		{`"acknowledged":0`, nil},
		{`"acknowledged":"0"`, nil},
		{`"acknowledged":"false"`, nil},
		{`"acknowledged":false`, nil},
		{`"acknowledged":null`, nil},
		{`"acknowledged":""`, nil},
		{`"acknowledged":"perhaps"`, nil},
		{`"acknowledged":{"a":1}`, nil},
		{`"acknowledged":[1]`, nil},
		{`"published":1`, func(s *s) { s.Published = true }},
		{`"is_open":null`, nil},
		{`"is_open":"true"`, func(s *s) { s.IsOpen = true }},
		{`"alerted":true,"actionable":1`, func(s *s) { s.Alerted, s.Actionable = true, true }},
		{`"is_shared":0`, func(s *s) { s.IsShared = shiftsync.Some(false) }},
		{`"is_shared":"1"`, func(s *s) { s.IsShared = shiftsync.Some(true) }},
		{`"is_shared":null`, nil},
		{`"is_shared":[]`, nil},
		{`"is_trimmed":false`, func(s *s) { s.IsTrimmed = shiftsync.Some(false) }},
		{`"is_approved_without_time":true`, func(s *s) { s.IsApprovedWithoutTime = shiftsync.Some(true) }},
		{`"requires_openshift_approval":1`, func(s *s) { s.RequiresOpenshiftApproval = shiftsync.Some(true) }},
		{`"openshift_approval_request_id":0`, func(s *s) { s.OpenshiftApprovalRequestID = shiftsync.Some[int64](0) }},
		{`"openshift_approval_request_id":"9"`, func(s *s) { s.OpenshiftApprovalRequestID = shiftsync.Some[int64](9) }},

		{`"user_id":3473997896`, func(s *s) { s.UserID = 3473997896 }},
		{`"user_id":9007199254740993`, func(s *s) { s.UserID = 9007199254740993 }},
		{`"user_id":"3473997896"`, func(s *s) { s.UserID = 3473997896 }},
		{`"user_id":-1`, func(s *s) { s.UserID = -1 }},
		{`"user_id":5.0`, func(s *s) { s.UserID = 5 }},
		{`"user_id":5e3`, func(s *s) { s.UserID = 5000 }},
		{`"user_id":5.5`, nil},
		{`"user_id":1e300`, nil},
		{`"user_id":1e999`, nil},
		{`"user_id":9223372036854775808`, nil},
		{`"user_id":true`, func(s *s) { s.UserID = 1 }},
		{`"user_id":false`, nil},
		{`"user_id":null`, nil},
		{`"user_id":""`, nil},
		{`"user_id":"0x10"`, nil},
		{`"user_id":"1_0"`, nil},
		{`"user_id":[5]`, nil},
		{`"account_id":1,"block_id":2,"creator_id":3,"instances":4,"location_id":5,"position_id":6,"site_id":8`, func(s *s) {
			s.AccountID, s.BlockID, s.CreatorID, s.Instances, s.LocationID, s.PositionID, s.SiteID = 1, 2, 3, 4, 5, 6, 8
		}},
		{`"user_id":1,"user_id":2`, func(s *s) { s.UserID = 2 }},

		{`"break_time":0.5`, func(s *s) { s.BreakTime, s.BreakTimeHours = 0.5, shiftsync.Some(0.5) }},
		{`"break_time":"0.5"`, func(s *s) { s.BreakTime, s.BreakTimeHours = 0.5, shiftsync.Some(0.5) }},
		{`"break_time":0`, func(s *s) { s.BreakTimeHours = shiftsync.Some(0.0) }},
		{`"break_time":-0.0`, func(s *s) { s.BreakTimeHours = shiftsync.Some(0.0) }},
		{`"break_time":null`, nil},
		{`"break_time":"NaN"`, nil},
		{`"break_time":1e999`, nil},
		{`"break_time":true`, nil},
		{`"break_time":2,"break_time":null`, nil},

		{`"notes":"a\nb\u00fc\ud83e\uddfa\/"`, func(s *s) { s.Notes = "a\nbü🧺/" }},
		{"\"notes\":\"caf\xe9\"", func(s *s) { s.Notes = "caf\ufffd" }},
		{"\"notes\":\"\\ncaf\xe9\"", func(s *s) { s.Notes = "\ncaf\ufffd" }},
		{`"notes":"\ud800"`, func(s *s) { s.Notes = "\ufffd" }},
		{`"notes":"\u0000"`, func(s *s) { s.Notes = "\x00" }},
		{`"notes":null`, nil},
		{`"notes":["a"]`, nil},
		{`"notes":true`, nil},
		{`"color":74611,"shiftchain_key":"4hbpny"`, func(s *s) { s.Color, s.ShiftchainKey = "74611", "4hbpny" }},

		{`"linked_users":null`, nil},
		{`"linked_users":[]`, func(s *s) { s.LinkedUserIDs = []int64{} }},
		{`"linked_users":[1,3473997896]`, func(s *s) { s.LinkedUserIDs = []int64{1, 3473997896} }},
		{`"linked_users":["1","2"]`, func(s *s) { s.LinkedUserIDs = []int64{1, 2} }},
		{`"linked_users":"[1,\"2\"]"`, func(s *s) { s.LinkedUserIDs = []int64{1, 2} }},
		{`"linked_users":"[]"`, func(s *s) { s.LinkedUserIDs = []int64{} }},
		{`"linked_users":"[1,"`, nil},
		{`"linked_users":""`, nil},
		{`"linked_users":"null"`, nil},
		{`"linked_users":{}`, nil},
		{`"linked_users":[1,null,{"id":2},"x"]`, func(s *s) { s.LinkedUserIDs = []int64{1} }},

		{`"breaks":null`, nil},
		{`"breaks":{}`, nil},
		{`"breaks":[]`, func(s *s) { s.Breaks = []shiftsync.Break{} }},
		{`"breaks":[{"id":-3458185949,"length":1800,"paid":false,"start_time":null,"end_time":null,"sort":0,"shift_id":3458185949},` +
			`17,{"id":"2","length":"900","paid":1,"start_time":"Mon, 08 May 2023 9:30:00 -0600","end_time":"2023-05-08 15:45:00","sort":1,"id":3}]`,
			func(s *s) {
				s.Breaks = []shiftsync.Break{
					{ID: -3458185949, LengthSeconds: 1800},
					{ID: 3, LengthSeconds: 900, Paid: true, StartTime: at("2023-05-08T15:30:00Z"), EndTime: at("2023-05-08T15:45:00Z"), Sort: 1},
				}
			}},
		{`"readonly":true,"tags":[{"id":1}]`, nil},
		{`"\u0063olor":"cc0000"`, func(s *s) { s.Color = "cc0000" }},
	} {
		t.Run(tt.json, func(t *testing.T) {
			want := leastShift()
			if tt.want != nil {
				tt.want(&want)
			}
			client := newClient(t, nil, wiw.Config{OnNotice: func(n wiw.Notice) { t.Errorf("got notice %v", n) }})
			got := shiftsync.Shift{Notes: "of the shift before", Breaks: []shiftsync.Break{{}}}
			for _, raw := range []string{"{" + least + "," + tt.json + "}", "{\n" + tt.json + " , " + least + "\t}"} {
				if err := client.Parse([]byte(raw), &got); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("got\n%+v, want\n%+v", got, want)
				}
				if math.Signbit(got.BreakTime) {
					t.Error("got a negative zero")
				}
			}
		})
	}
}

func TestParseDates(t *testing.T) {
	const none, unknown = "none", "unknown"
	for _, tt := range []struct{ json, want string }{
		{`"Mon, 01 Oct 2018 15:27:30 +0100"`, "2018-10-01T14:27:30Z"},
		{`"Sun, 6 Dec 2015 00:00:00 -0600"`, "2015-12-06T06:00:00Z"},
		{`"Mon, 08 May 2023 9:30:00 -0600"`, "2023-05-08T15:30:00Z"},
		{`"Fri, 02 Jan 2016 00:00:00 -0600"`, "2016-01-02T06:00:00Z"},
		{`"Fri, 29 Jan 2016 12:00:00 -500"`, "2016-01-29T17:00:00Z"},
		{`"Fri, 29 Jan 2016 12:00:00 GMT"`, "2016-01-29T12:00:00Z"},
		{`" Fri, 29 Jan 2016 12:00:00 \u002b0530 "`, "2016-01-29T06:30:00Z"},
		{`"29 Feb 2016 12:00:00 +0000"`, "2016-02-29T12:00:00Z"},
		{`"2019-05-16T06:57:28+05:00"`, "2019-05-16T01:57:28Z"},
		{`"2019-05-16T06:57:28Z"`, "2019-05-16T06:57:28Z"},
		{`"2025-01-16 11:15:40"`, "2025-01-16T11:15:40Z"},
		{`1537961098`, "2018-09-26T11:24:58Z"},
		{`1537961098.75`, "2018-09-26T11:24:58Z"},
		{`"1537961098"`, "2018-09-26T11:24:58Z"},

		{`null`, none},
		{`""`, none},
		{`"  "`, none},
		{`0`, none},
		{`"0000-00-00 00:00:00"`, none},
		{`"0000-00-00"`, none},
		{`"Tue, 29 Nov -001 19:00:00 -0500"`, none},
		{`"Fri, 09 May -001 01:20:22 -0341"`, none},
		{`"Sun, 30 Nov -0001 00:00:00 +0000"`, none},
		{`"-0001-11-30T00:00:00+00:00"`, none},

		{`"Wed, Oct 21 2015 16:29:00 -0500"`, unknown},
		{`"Mon, 16 Jan 2017"`, unknown},
		{`"2017-01-16"`, unknown},
		{`"20170116"`, unknown},
		{`"Mon, 31 Feb 2018 15:27:30 +0100"`, unknown},
		{`"Mon, 31 Feb 2018 15:27:30 -0500"`, unknown},
		{`"Mon, 00 Jan 2018 15:27:30 +0100"`, unknown},
		{`"Mon, 01 Oct 2018 24:27:30 +0100"`, unknown},
		{`"Mon, 01 Oct 2018 15:60:30 +0100"`, unknown},
		{`"Mon, 01 Oct 2018 15:27:60 +0100"`, unknown},
		{`"Mon, 01 Oct 2018 15:27:30"`, unknown},
		{`"Mon, 01 Oct 2018 15:27:30 0100"`, unknown},
		{`"Mon, 01 Oct 2018 15:27:30 +01000"`, unknown},
		{`"Mon, 01 Oct 2018 15:27:30 +0160"`, unknown},
		{`"Mon, 01 Okt 2018 15:27:30 +0100"`, unknown},
		{`"Fri, 31 Dec 9999 23:59:59 -0500"`, unknown},
		{`"tomorrow"`, unknown},
		{`-5`, unknown},
		{`1e30`, unknown},
		{`true`, unknown},
		{`["2019-05-16T06:57:28Z"]`, unknown},
	} {
		t.Run(tt.json, func(t *testing.T) {
			unknowns := 0
			client := newClient(t, nil, wiw.Config{OnUnknownDate: func() { unknowns++ }})
			for _, field := range []string{"acknowledged_at", "created_at", "notified_at", "published_date", "updated_at"} {
				var s shiftsync.Shift
				if err := client.Parse([]byte(`{`+least+`,"`+field+`":`+tt.json+`}`), &s); err != nil {
					t.Fatal(err)
				}
				dates := map[string]time.Time{
					"acknowledged_at": s.AcknowledgedAt, "created_at": s.CreatedAt, "notified_at": s.NotifiedAt,
					"published_date": s.PublishedDate, "updated_at": s.UpdatedAt,
				}
				for name, got := range dates {
					want := time.Time{}
					if name == field && tt.want != none && tt.want != unknown {
						want = at(tt.want)
					}
					if got != want {
						t.Errorf("%s: got %s of %s, want %s", field, name, got, want)
					}
				}
			}
			want := 0
			if tt.want == unknown {
				want = 5
			}
			if unknowns != want {
				t.Errorf("told of %d unknown dates, want %d", unknowns, want)
			}

			// What a shift cannot do without.
			for i, other := range []string{"end_time", "start_time"} {
				var s shiftsync.Shift
				field := []string{"start_time", "end_time"}[i]
				err := client.Parse(fmt.Appendf(nil, `{"id":7,%q:1537961098,%q:%s}`, other, field, tt.json), &s)
				switch {
				case tt.want == none || tt.want == unknown:
					if err == nil || !strings.Contains(err.Error(), field) {
						t.Errorf("got %v, want an error about %s", err, field)
					}
				case err != nil:
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func TestParseErrorsQuoteNothing(t *testing.T) {
	client := newClient(t, nil, wiw.Config{})
	for _, raw := range []string{
		``, ` `, `secret`, `"secret"`, `["secret"]`, `{"secret"`, `{"secret":}`, `{"id":"secret"}`, `null`, `17`,
		`{` + least + `}secret`, `{` + least + `,"notes":"secret`, `{` + least + `,}`, `{` + least + `{}`,
		`{"id":7,"start_time":"secret","end_time":"secret"}`,
		`{` + strings.Replace(least, `"id":7`, `"id":"secret"`, 1) + `}`,
		strings.Repeat(`{"secret":`, 20000),
	} {
		err := client.Parse([]byte(raw), new(shiftsync.Shift))
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.40s: got %v", raw, err)
		}
	}
	// The next one is not disturbed by what stood before.
	var got shiftsync.Shift
	if err := client.Parse([]byte(`{`+least+`}`), &got); err != nil || !reflect.DeepEqual(got, leastShift()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestParseKeepsNothingOfItsInput(t *testing.T) {
	client := newClient(t, nil, wiw.Config{})
	raw := []byte(`{` + least + `,"notes":"hello","color":"cc0000","linked_users":[1]}`)
	var got shiftsync.Shift
	if err := client.Parse(raw, &got); err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if got.Notes != "hello" || got.Color != "cc0000" {
		t.Errorf("got %q, %q", got.Notes, got.Color)
	}
}
