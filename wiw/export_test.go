package wiw

import "github.com/go-json-experiment/json/jsontext"

// Translation is open to tests, which hold that it is part of a shift's hash.
const Translation = translation

// Walk walks an object, or an array, as Parse does, and returns the names and values, and whether all of it was well
// formed.
func Walk(b []byte, object bool) (parts []string, whole bool) {
	open := jsontext.KindBeginArray
	if object {
		open = jsontext.KindBeginObject
	}
	var c cursor
	c.enter(b, open)
	for c.next() {
		if object {
			parts = append(parts, string(c.name))
		}
		parts = append(parts, string(c.value))
	}
	return parts, c.leave() == nil
}
