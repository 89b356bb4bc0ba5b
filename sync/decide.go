package shiftsync

// verdict is what is to be done about a sighting.
type verdict uint8

const (
	unclear    verdict = iota // its content has to be looked at
	unchanged                 // nothing
	reread                    // nothing, but the new raw hash is to be remembered
	changed                   // publish
	schemaOnly                // publish when there is time
	stillAside                // nothing: it was bad before
)

// glance decides by the raw hash alone, which covers the bytes of a shift and all that decides how they are read:
// equal to one that was dealt with means equal content.
func glance(k Known, raw uint64) verdict {
	switch {
	case k.Aside == raw:
		return stillAside
	case k.Pending && k.Intended.Raw == raw:
		return unchanged
	case k.Pending:
		return unclear // what is remembered is about to be overtaken: it proves nothing
	case k.Remembered && k.Raw == raw:
		return unchanged
	}
	return unclear
}

// decide compares the version that was read with the newest one that is known. sameUnderOld tells whether the
// content is as remembered when it is written with the schema that was in use then; it is only asked if that differs.
func decide(k Known, v Version, sameUnderOld func(SchemaID) bool) verdict {
	newest, known := k.Version, k.Remembered
	if k.Pending {
		newest, known = k.Intended, true
	}
	switch {
	case !known:
		return changed
	case newest.Schema != v.Schema && sameUnderOld(newest.Schema):
		return schemaOnly
	case newest.Schema != v.Schema || newest.Fingerprint != v.Fingerprint:
		return changed
	case k.Pending:
		return unchanged // Remember will bring the raw hash of the intent; the next pass sees the new one
	}
	return reread
}
