package main

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/slotsync/slotsync/wiw"
)

// The API's clock and ours may differ by so much. Beyond it, "now" is another time there than here.
const maxSkew = 30 * time.Second

func apiChecks() []check {
	return []check{
		{"api_reached", "When I Work", "answer", func(w *facts) finding { return judgeReached(w) }},
		{"api_token", "When I Work", "token", judgeToken},
		{"api_rights", "When I Work", "rights", judgeRights},
		{"api_window", "When I Work", "window", judgeWindow},
		{"api_clock", "When I Work", "clock", judgeClock},
		{"api_shifts", "When I Work", "shifts", judgeShifts},
	}
}

// trouble is what kind of fault the API has shown. The checks stand in this order: of those behind a fault nothing is
// known.
type trouble int

const (
	notReached trouble = iota
	badToken
	noRights
	otherWindow
	brokenOff // in the middle of the shifts, or not read to their end in the time that there is
	noTrouble
)

func (a *apiFacts) trouble() trouble {
	var status *wiw.StatusError
	switch {
	case a.err == nil:
		return noTrouble
	case a.login != nil:
		return badToken
	case errors.As(a.err, &status) && status.AboutRights():
		return noRights
	case errors.As(a.err, &status) && status.Status == http.StatusUnauthorized:
		return badToken
	case errors.Is(a.err, wiw.ErrOtherWindow):
		return otherWindow
	case a.class == "2xx" && a.shifts > 0, a.answers > 0 && errors.Is(a.err, context.DeadlineExceeded):
		return brokenOff
	default:
		return notReached
	}
}

func judgeReached(w *facts) finding {
	a := &w.api
	if a.login != nil && a.class == "" {
		return skip("there is no session token to ask it with")
	}
	if a.trouble() != notReached {
		return ok("%s answered within %s", w.cfg.WIW.URL, rounded(a.took))
	}
	advice := "see that WIW_URL is right, and that its host can be reached from here (DNS, proxy, firewall)"
	var status *wiw.StatusError
	var authority x509.UnknownAuthorityError
	if errors.As(a.err, &authority) {
		advice = "put the certificate of the authority, which may be that of a proxy that reads along, into a file, and its path into SSL_CERT_FILE"
	}
	if errors.As(a.err, &status) {
		advice = "see that WIW_URL is the API itself, or try again when the API is well"
		if s := status.Status; s == http.StatusForbidden || s == http.StatusTooManyRequests {
			advice = "wait some minutes; see what else uses this token, or lower WIW_RATE"
		}
	}
	return fail(advice, "%s", a.err)
}

func judgeToken(w *facts) finding {
	a, ends := &w.api, w.api.tokenEnds
	t, end := a.trouble(), ends.UTC().Format(time.RFC3339)
	over := !ends.IsZero() && time.Until(ends) <= 0
	soon := !ends.IsZero() && time.Until(ends) < 48*time.Hour && !w.cfg.logsIn()
	anew := "set " + w.cfg.tokenFrom + " to a new session token, or let slotsync log in with WIW_DEVELOPER_KEY, WIW_EMAIL and WIW_PASSWORD"
	switch {
	case a.login != nil:
		return fail(loginAdvice(a.login), "%s", a.login)
	case t == badToken && w.cfg.logsIn() && w.cfg.WIW.UserID != 0:
		return fail("see that WIW_USER_ID is a user of a workplace of this login", "a new one is refused: %s", a.err)
	case t == badToken && w.cfg.logsIn():
		return fail("see that the login of WIW_LOGIN_URL is the one of the API at WIW_URL", "a new one is refused: %s", a.err)
	case over && (t == badToken || t == notReached) && !w.cfg.logsIn():
		return fail(anew, "it ended %s", end)
	case t == badToken && !ends.IsZero():
		return fail("set "+w.cfg.tokenFrom+" to a session token of this API", "%s; by its own words it ends %s", a.err, end)
	case t == badToken:
		return fail("set "+w.cfg.tokenFrom+" to a session token, not the developer key; tokens end about a week after the login that gave them",
			"%s", a.err)
	case t < badToken && soon:
		return warn(anew, "it ends %s; whether it is accepted was not told", end)
	case t < badToken:
		return skip("the API gave no answer")
	case over:
		return warn("set this machine's clock (NTP)", "accepted, though by this machine's clock it ended %s", end)
	case soon:
		return warn(anew, "accepted, and ends %s", end)
	case ends.IsZero():
		return ok("accepted; it does not say when it ends")
	}
	return ok("accepted, and ends %s", end)
}

// loginAdvice says what to do about a login that went wrong.
func loginAdvice(err error) string {
	var status *wiw.StatusError
	var late *unanswered
	var network net.Error
	switch {
	case errors.As(err, &status):
		return "see that WIW_LOGIN_URL, WIW_DEVELOPER_KEY, WIW_EMAIL and WIW_PASSWORD are right"
	case errors.As(err, &late), errors.As(err, &network):
		return "see that WIW_LOGIN_URL is right, and that its host can be reached from here (DNS, proxy, firewall)"
	}
	return "mend what is named, and see that WIW_LOGIN_URL is the login itself"
}

func judgeRights(w *facts) finding {
	switch t := w.api.trouble(); {
	case t < noRights:
		return skip("the API gave no shifts")
	case t == noRights:
		return fail("set WIW_USER_ID to a user (not an account) who may see all shifts, a supervisor or above, or use the token of one",
			"%s", w.api.err)
	}
	return ok("shifts may be read")
}

func judgeWindow(w *facts) finding {
	a := &w.api
	switch t := a.trouble(); {
	case t < otherWindow:
		return skip("the API gave no shifts")
	case t == otherWindow:
		return fail("lower WIW_SLICE_DAYS: the API cuts windows that it finds too long", "%s", a.err)
	case a.silent:
		return ok("%s asked; the API does not say which it answered", a.window)
	}
	return ok("answered as asked, %s", a.window)
}

func judgeClock(w *facts) finding {
	a := &w.api
	switch {
	case !a.dated && (a.class == "" || a.class == "error"):
		return skip("the API gave no answer")
	case !a.dated:
		return ok("not told by the API")
	case a.skew.Abs() > maxSkew && a.skew > 0:
		return warn("set this machine's clock (NTP): the window is counted from it", "this machine is %s behind the API", rounded(a.skew))
	case a.skew.Abs() > maxSkew:
		return warn("set this machine's clock (NTP): the window is counted from it", "this machine is %s ahead of the API", rounded(-a.skew))
	}
	return ok("as the API's, within %s", maxSkew)
}

func judgeShifts(w *facts) finding {
	a := &w.api
	switch t := a.trouble(); {
	case t <= otherWindow:
		return skip("the API gave no shifts")
	case t == brokenOff && errors.Is(a.err, context.DeadlineExceeded):
		return warn("none if the window is meant to be that large; else lower SYNC_DAYS_AHEAD or SYNC_DAYS_PRIOR",
			"%s, and more to come than can be read within %s", grouped(a.shifts), askFor)
	case t == brokenOff:
		return fail("try again; if it stays, lower WIW_SLICE_DAYS", "%s, then %s", grouped(a.shifts), a.err)
	case a.shifts == 0:
		return warn("see that SYNC_DAYS_AHEAD, SYNC_DAYS_PRIOR, WIW_INCLUDE and WIW_USER_ID name what you expect", "none in this window")
	case a.unreadable == 0:
		return ok("%s in this window, all readable", grouped(a.shifts))
	}
	if limit := w.cfg.Limits.BadShare; a.unreadable > 1 && float64(a.unreadable) > limit*float64(a.shifts) {
		return fail("see in the worker's log what they lack, or raise BAD_SHARE: above it a pass fails",
			"%s, of which %s cannot be read", grouped(a.shifts), grouped(a.unreadable))
	}
	return warn("the worker names them in its log, sets them aside and publishes the others",
		"%s, of which %s cannot be read", grouped(a.shifts), grouped(a.unreadable))
}

// rounded is a length of time for people.
func rounded(d time.Duration) time.Duration {
	switch {
	case d > time.Minute:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(100 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(time.Millisecond)
	default:
		return d.Round(10 * time.Microsecond)
	}
}
