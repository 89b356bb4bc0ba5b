package wiw

import (
	"encoding/binary"
	"math/bits"
)

// maxNesting is how many brackets may be open at once, as many as the decoder takes.
const maxNesting = 10_000

// afterValue returns the index behind the value that begins at i, with so many brackets open around it, or -1 if there is
// none. It holds it against the whole grammar, except that text need not be UTF-8.
func afterValue(b []byte, i, open int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return afterString(b, i)
	case '{':
		return afterObject(b, i+1, open+1)
	case '[':
		return afterArray(b, i+1, open+1)
	case 't':
		return afterLiteral(b, i, "true")
	case 'f':
		return afterLiteral(b, i, "false")
	case 'n':
		return afterLiteral(b, i, "null")
	}
	return afterNumber(b, i)
}

// beginsValue tells whether the first token at i is one that can begin a value.
func beginsValue(b []byte, i int) bool {
	return b[i] == '{' || b[i] == '[' || afterValue(b, i, 0) >= 0
}

func afterLiteral(b []byte, i int, text string) int {
	if end := i + len(text); end <= len(b) && string(b[i:end]) == text {
		return end
	}
	return -1
}

// afterObject returns the index behind the object whose content begins at i.
func afterObject(b []byte, i, open int) int {
	if open > maxNesting {
		return -1
	}
	i = skipSpace(b, i)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		if i = skipSpace(b, afterString(b, i)); i < 0 || i >= len(b) || b[i] != ':' {
			return -1
		}
		if i = skipSpace(b, afterValue(b, skipSpace(b, i+1), open)); i < 0 || i >= len(b) {
			return -1
		}
		switch b[i] {
		case '}':
			return i + 1
		case ',':
			i = skipSpace(b, i+1)
		default:
			return -1
		}
	}
}

// afterArray returns the index behind the array whose content begins at i.
func afterArray(b []byte, i, open int) int {
	if open > maxNesting {
		return -1
	}
	i = skipSpace(b, i)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = skipSpace(b, afterValue(b, i, open)); i < 0 || i >= len(b) {
			return -1
		}
		switch b[i] {
		case ']':
			return i + 1
		case ',':
			i = skipSpace(b, i+1)
		default:
			return -1
		}
	}
}

// afterString returns the index behind the string that begins at i.
func afterString(b []byte, i int) int {
	if i < 0 || i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ {
		if i = skipPlain(b, i); i == len(b) {
			return -1
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			if i++; i == len(b) {
				return -1
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(b) || !isHex(b[i+1]) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) {
					return -1
				}
				i += 4
			default:
				return -1
			}
		}
	}
	return -1
}

// skipPlain returns the index of the next byte, at i or behind it, that means something in a string: a quote, a backslash
// or a control character. It looks at eight of them at once, since most of an answer are strings.
func skipPlain(b []byte, i int) int {
	const each = 0x0101010101010101
	// below has the high bit of each byte of x that is less than n, and perhaps of some behind the first such.
	below := func(x uint64, n uint64) uint64 { return (x - n*each) &^ x & (0x80 * each) }
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		if found := below(x, ' ') | below(x^'"'*each, 1) | below(x^'\\'*each, 1); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// afterNumber returns the index behind the number that begins at i.
func afterNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++ // and no digit behind it
	} else if i = afterDigits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = afterDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return afterDigits(b, i)
	}
	return i
}

// afterDigits returns the index behind the digits at i, of which there must be one.
func afterDigits(b []byte, i int) int {
	first := i
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	if i == first {
		return -1
	}
	return i
}
