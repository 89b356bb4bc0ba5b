//go:build linux

package main

import "testing"

func TestALetterHasToBeOfABadVersion(t *testing.T) {
	unread, heavy := newLabel(2, unreadable), newLabel(3, large)
	truth, s := told(v(1), unread, heavy)
	for _, c := range []struct {
		claim string
		id    int64
		label label
		stage string
		want  string // in the complaint; empty: there is none
		again bool
	}{
		{"what could not be read", s.base.ID, unread, "parse", "", false},
		{"once more", s.base.ID, unread, "parse", "", true},
		{"what was too large", s.base.ID, heavy, "publish", "", false},
		{"at another stage", s.base.ID, heavy, "encode", `tells of stage "encode", want "publish"`, false},
		{"a good version", s.base.ID, v(1), "publish", "a good version becomes no dead letter", false},
		{"a version that there never was", s.base.ID, newLabel(9, large), "publish", "as the API never had it", false},
		{"another shift", s.base.ID + 1, heavy, "publish", "as the API never had it", false},
	} {
		t.Run(c.claim, func(t *testing.T) {
			again, err := truth.bury(c.id, c.label, arrival{pass: "a"}, c.stage)
			complaint(t, err, c.want)
			if got := again != nil; got != c.again {
				t.Errorf("got %t, want %t: it is of the same version as the one before", got, c.again)
			}
		})
	}
}
