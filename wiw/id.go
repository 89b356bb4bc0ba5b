package wiw

import (
	"bytes"
	"math"
)

// positiveID reads an id: a whole number above zero, or its digits as text. It returns 0 for anything else.
func positiveID(v []byte) int64 {
	if len(v) > 0 && v[0] == '"' {
		v = unquoted(v)
	}
	if len(v) == 0 {
		return 0
	}
	var id int64
	for _, c := range v {
		digit := int64(c) - '0'
		if digit < 0 || digit > 9 || id > (math.MaxInt64-digit)/10 {
			return 0
		}
		id = 10*id + digit
	}
	return id
}

// idOf finds the id of a shift without reading the rest of it: the first member "id" of the object itself, not one
// of an object inside. It returns 0 if there is none. What follows the id is not looked at, and raw is expected to be
// well formed.
func idOf(raw []byte) int64 {
	if len(raw) == 0 || raw[0] != '{' {
		return 0
	}
	for i := skipSpace(raw, 1); i < len(raw) && raw[i] == '"'; {
		end := valueEnd(raw, i)
		name := raw[i:end]
		i = skipSpace(raw, end)
		if i == len(raw) || raw[i] != ':' {
			return 0
		}
		i = skipSpace(raw, i+1)
		end = valueEnd(raw, i)
		if isID(name) {
			return positiveID(raw[i:end])
		}
		i = skipSpace(raw, end)
		if i == len(raw) || raw[i] != ',' {
			return 0
		}
		i = skipSpace(raw, i+1)
	}
	return 0
}

func isID(name []byte) bool {
	if bytes.IndexByte(name, '\\') < 0 {
		return string(name) == `"id"`
	}
	return string(unquoted(name)) == "id"
}

// skipSpace returns the index of what is no space, at i or behind it. Below 0 it returns i.
func skipSpace(b []byte, i int) int {
	for i >= 0 && i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// valueEnd returns the index behind the value that begins at i.
func valueEnd(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth <= 0 {
				if depth < 0 {
					return i // of the object around it, behind a number
				}
				return i + 1
			}
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

// stringEnd returns the index behind the string that begins at i.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		i += n
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
	return len(b)
}
