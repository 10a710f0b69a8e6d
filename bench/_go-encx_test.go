// Loops inside the peer: bench/go-encx.ts copies this file beside its sources, so that no pipe is measured.
package main

import (
	"encoding/json"
	"strconv"
	"testing"
)

var benchFields = []M{
	{"name": "ID", "type": "int64"},
	{"name": "Email", "type": "string", "tags": []any{"encrypt", "hash_basic"}},
	{"name": "Name", "type": "string", "tags": []any{"encrypt"}},
	{"name": "Phone", "type": "*string", "tags": []any{"encrypt"}},
	{"name": "Born", "type": "time.Time", "tags": []any{"encrypt"}},
}

func benchRing(b *testing.B) *ring {
	r := openRing(M{"dir": b.TempDir(), "seed": "005eed"})
	b.Cleanup(func() { r.db.Close() })
	return r
}

func benchPerson(i int) M {
	return M{"ID": strconv.Itoa(i), "Email": "ada" + strconv.Itoa(i) + "@example.org", "Name": "Ada Lovelace", "Phone": "+44 20 7946 0000", "Born": "-4859000000000000000"}
}

func BenchmarkSeal(b *testing.B) {
	r := benchRing(b)
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		processRow(r, benchFields, benchPerson(i))
	}
}

func BenchmarkOpen(b *testing.B) {
	r := benchRing(b)
	rows := make([]M, b.N)
	for i := range rows {
		rows[i] = processRow(r, benchFields, benchPerson(i))
		rows[i]["key_version"] = json.Number(strconv.Itoa(rows[i]["key_version"].(int)))
	}
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		decryptRow(r, benchFields, rows[i])
	}
}
