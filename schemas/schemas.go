// Package schemas holds the Avro schemas of the records that slotsync writes.
//
// The .avsc files are the published description of the topic. A registry compares their text, so that even another
// wording of a doc string becomes a new version there, and a new version republishes the window once.
package schemas

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"strconv"
	"strings"
)

//go:embed slots-key.avsc
var key string

//go:embed slots-value.avsc
var value string

//go:embed slots-value-2018.avsc
var value2018 string

// Key returns the schema of a record's key, as one line: record Key with the one field id, a long. An empty namespace
// leaves the record without one.
func Key(namespace string) string { return in(namespace, key) }

// Value returns the schema of a record's value, as one line: record slot with the fields of slot_sync and after them
// all that the API has learned to say since. An empty namespace leaves the records without one.
func Value(namespace string) string { return in(namespace, value) }

// Value2018 returns the value schema that slot_sync registered, which Value can read and which can read Value.
func Value2018(namespace string) string { return in(namespace, value2018) }

// in gives a schema file the namespace and takes out what is there only for people.
func in(namespace, file string) string {
	const placeholder = `"namespace": "slotsync",`
	put := ""
	if namespace != "" {
		put = `"namespace": ` + strconv.Quote(namespace) + `,`
	}
	var line bytes.Buffer
	if err := json.Compact(&line, []byte(strings.Replace(file, placeholder, put, 1))); err != nil {
		panic("schemas: " + err.Error()) // only if a file of this package is broken
	}
	return line.String()
}
