package wiw

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	shiftsync "github.com/slotsync/slotsync/sync"
)

// Why a shift cannot be used.
var (
	errNoID    = errors.New("id is missing or not a whole number above zero")
	errNoStart = errors.New("start_time is missing or cannot be read")
	errNoEnd   = errors.New("end_time is missing or cannot be read")
)

// Parse reads one shift in any of the spellings that the API has used. It needs id, start_time and end_time; anything
// else that is missing or of a wrong type is zero. Of several members "id" the first counts, as it does in Read; of
// others the last.
func (c *Client) Parse(raw []byte, into *shiftsync.Shift) error {
	p := c.parsers.Get().(*parser)
	defer c.parsers.Put(p)
	*into = shiftsync.Shift{}
	return p.parse(raw, into)
}

// parser holds what is used again from one shift to the next.
type parser struct {
	notes *notes

	// One for each level: the shift, a list in it, a break in that.
	shift, list, item cursor
}

func newParser(n *notes) *parser { return &parser{notes: n} }

func (p *parser) parse(raw []byte, s *shiftsync.Shift) error {
	id := int64(-1)
	p.shift.enter(raw, '{')
	for p.shift.next() {
		if v := p.shift.value; string(p.shift.name) != "id" {
			p.field(p.shift.name, v, s)
		} else if id < 0 {
			id = positiveID(v)
		}
	}
	if err := p.shift.leave(); err != nil {
		return err
	}
	s.ID = max(id, 0)
	switch {
	case s.ID == 0:
		return errNoID
	case s.StartTime.IsZero():
		return errNoStart
	case s.EndTime.IsZero():
		return errNoEnd
	}
	return nil
}

func (p *parser) field(name []byte, v jsontext.Value, s *shiftsync.Shift) {
	switch string(name) {
	case "account_id":
		s.AccountID, _ = integer(v)
	case "acknowledged":
		s.Acknowledged, _ = flag(v)
	case "acknowledged_at":
		s.AcknowledgedAt = p.date("acknowledged_at", v)
	case "actionable":
		s.Actionable, _ = flag(v)
	case "alerted":
		s.Alerted, _ = flag(v)
	case "block_id":
		s.BlockID, _ = integer(v)
	case "break_time":
		hours, ok := decimal(v)
		s.BreakTime, s.BreakTimeHours = hours, optional(hours, ok)
	case "color":
		s.Color = text(v)
	case "created_at":
		s.CreatedAt = p.date("created_at", v)
	case "creator_id":
		s.CreatorID, _ = integer(v)
	case "end_time":
		s.EndTime, _ = parseDate(v)
	case "instances":
		s.Instances, _ = integer(v)
	case "is_open":
		s.IsOpen, _ = flag(v)
	case "linked_users":
		s.LinkedUserIDs = p.ids(v)
	case "location_id":
		s.LocationID, _ = integer(v)
	case "notes":
		s.Notes = text(v)
	case "notified_at":
		s.NotifiedAt = p.date("notified_at", v)
	case "position_id":
		s.PositionID, _ = integer(v)
	case "published":
		s.Published, _ = flag(v)
	case "published_date":
		s.PublishedDate = p.date("published_date", v)
	case "shiftchain_key":
		s.ShiftchainKey = text(v)
	case "site_id":
		s.SiteID, _ = integer(v)
	case "start_time":
		s.StartTime, _ = parseDate(v)
	case "updated_at":
		s.UpdatedAt = p.date("updated_at", v)
	case "user_id":
		s.UserID, _ = integer(v)
	case "breaks":
		s.Breaks = p.breaks(v)
	case "is_shared":
		s.IsShared = optional(flag(v))
	case "is_trimmed":
		s.IsTrimmed = optional(flag(v))
	case "requires_openshift_approval":
		s.RequiresOpenshiftApproval = optional(flag(v))
	case "openshift_approval_request_id":
		s.OpenshiftApprovalRequestID = optional(integer(v))
	case "is_approved_without_time":
		s.IsApprovedWithoutTime = optional(flag(v))
	case "readonly", "is_deleted", "deleted_at", "tags":
		// Known, and not ours to publish.
	default:
		p.notes.unknownField("", name)
	}
}

// date reads a date that a shift can do without.
func (p *parser) date(field string, v jsontext.Value) time.Time {
	t, form := parseDate(v)
	if form == unknownDate {
		p.notes.unknownDate(field, v)
	}
	return t
}

// ids reads a list of ids, or a string that holds one as JSON. What else stands in the list is passed over.
func (p *parser) ids(v jsontext.Value) []int64 {
	if v[0] == '"' {
		v = unquoted(v)
	}
	if len(v) == 0 {
		return nil
	}
	p.list.enter(v, '[')
	ids := []int64{}
	for p.list.next() {
		if id := positiveID(p.list.value); id != 0 {
			ids = append(ids, id)
		}
	}
	if p.list.leave() != nil {
		return nil
	}
	return ids
}

func (p *parser) breaks(v jsontext.Value) []shiftsync.Break {
	p.list.enter(v, '[')
	breaks := []shiftsync.Break{}
	for p.list.next() {
		if p.list.value.Kind() == jsontext.KindBeginObject {
			breaks = append(breaks, p.oneBreak(p.list.value))
		}
	}
	if p.list.leave() != nil {
		return nil
	}
	return breaks
}

func (p *parser) oneBreak(v jsontext.Value) (b shiftsync.Break) {
	p.item.enter(v, '{')
	for p.item.next() {
		v := p.item.value
		switch string(p.item.name) {
		case "id":
			b.ID, _ = integer(v)
		case "length":
			b.LengthSeconds, _ = integer(v)
		case "paid":
			b.Paid, _ = flag(v)
		case "start_time":
			b.StartTime = p.date("breaks.start_time", v)
		case "end_time":
			b.EndTime = p.date("breaks.end_time", v)
		case "sort":
			b.Sort, _ = integer(v)
		case "shift_id", "account_id", "created_at", "created_by", "updated_at", "updated_by":
			// Known, and told by the shift already or not ours to publish.
		default:
			p.notes.unknownField("breaks.", p.item.name)
		}
	}
	_ = p.item.leave() // the whole was read once, so there is no fault in a part
	return b
}
