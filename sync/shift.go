package shiftsync

import "time"

// Optional is a value that a source may leave out. The zero Optional is the one that was left out.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some returns an Optional that holds v.
func Some[T any](v T) Optional[T] { return Optional[T]{Value: v, Set: true} }

// Shift is one shift of When I Work with its spelling mistakes mended: a flag is a bool however it was written, an
// instant is in UTC, and a zero time.Time stands for every spelling of "no date".
//
// The fields down to UserID are those that slot_sync published, and what the API left out of them is zero. The
// Optional ones came later; left out, they stay unset, and so do nil slices.
type Shift struct {
	AccountID      int64
	Acknowledged   bool
	AcknowledgedAt time.Time
	Actionable     bool
	Alerted        bool
	BlockID        int64
	BreakTime      float64 // hours
	Color          string
	CreatedAt      time.Time
	CreatorID      int64
	EndTime        time.Time // never zero in a Shift that was parsed without error
	ID             int64     // never zero in a Shift that was parsed without error
	Instances      int64
	IsOpen         bool
	LocationID     int64
	Notes          string
	NotifiedAt     time.Time
	PositionID     int64
	Published      bool
	PublishedDate  time.Time
	ShiftchainKey  string
	SiteID         int64
	StartTime      time.Time // never zero in a Shift that was parsed without error
	UpdatedAt      time.Time
	UserID         int64 // 0: an open shift

	BreakTimeHours             Optional[float64] // hours, fractions kept
	LinkedUserIDs              []int64           // nil: everyone, or not told
	Breaks                     []Break           // nil: not told
	IsShared                   Optional[bool]
	IsTrimmed                  Optional[bool]
	RequiresOpenshiftApproval  Optional[bool]
	OpenshiftApprovalRequestID Optional[int64]
	IsApprovedWithoutTime      Optional[bool]
}

// Break is a scheduled break of a shift.
type Break struct {
	ID            int64 // may be negative
	LengthSeconds int64
	Paid          bool
	StartTime     time.Time // zero: no fixed time
	EndTime       time.Time // zero: no fixed time
	Sort          int64
}
