package change_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"

	"github.com/tributary-health/tributary/change"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func everyType() *change.Schema {
	s := &change.Schema{Table: change.Table{Source: "emr", Name: "every type"}}
	for t := change.String; t <= change.EnumSet; t++ {
		s.Columns = append(s.Columns, change.Column{
			Name: t.String(), Type: t, Nullable: t != change.UUID, Key: t == change.UUID, Native: "native " + t.String()})
	}
	s.Columns = append(s.Columns, change.Column{Name: "a b", Type: change.String}, change.Column{Name: "a-b", Type: change.String})
	return s
}

func texts(s ...string) []change.Value {
	row := make([]change.Value, len(s))
	for i := range s {
		row[i] = change.Of(s[i])
	}
	return row
}

// whole is a row in which every type has a value of its canonical form.
func whole() []change.Value {
	return texts("José\x1f\\\"\n", "true", "-9223372036854775808", "18446744073709551615", "1e-07", "12.50",
		"\x00\xff", "2026-11-20", "-838:59:59.000001", "2026-11-20T01:02:03.000001", "2026-11-20T01:02:03Z",
		"f9c34b85-eafd-0680-480a-9f771c825d75", `{"b":1,"a":1.0}`, "M", "a,b", "", "x")
}

// odd is a row whose numbers are not in the form their type would print.
func odd() []change.Value {
	row := whole()
	row[1], row[2], row[4] = change.Of("t"), change.Of("007"), change.Of("NaN")
	row[0] = change.Value{}
	row[6] = change.Value{State: change.Unchanged}
	return row
}

func events() map[string]*change.Event {
	at := time.Date(2026, 11, 20, 1, 2, 3, 4000, time.UTC)
	s := everyType()
	return map[string]*change.Event{
		"read":   {Position: change.Position{Generation: 1, Ordinal: 24<<32 + 7, Sequence: 9}, Incarnation: 3, Op: change.Read, Schema: s, After: whole(), Committed: at},
		"create": {Position: change.Position{Generation: 4294967295, Ordinal: 1<<64 - 1, Sequence: 1}, Incarnation: 1, Op: change.Create, Schema: s, After: odd(), Committed: at},
		"update": {Position: change.Position{Generation: 1, Ordinal: 1, Sequence: 2}, Incarnation: 1, Op: change.Update, Schema: s, Before: odd(), After: whole(), Committed: at},
		"delete": {Position: change.Position{Generation: 1, Ordinal: 1, Sequence: 2}, Incarnation: 1, Op: change.Delete, Schema: s, Before: whole(), Committed: at},
	}
}

func txRecord() *change.TxRecord {
	mark := func(o uint64, token string) change.Mark {
		return change.Mark{Position: change.Position{Generation: 2, Ordinal: o}, Token: token}
	}
	return &change.TxRecord{
		Status: change.Ended, Source: "pharmacy", Incarnation: 7, Mark: mark(99, "0-1-5"),
		Previous: mark(98, "").Position, Durable: mark(90, "0-1-3"), ID: "0-1-5",
		Committed: time.Date(2026, 11, 20, 1, 2, 3, 4000, time.UTC), Partition: 2, Partitions: []int32{0, 2},
		Counts: map[string]int64{"fills": 2, "medications": 1}, EventCount: 4, Snapshot: true, History: "h",
	}
}

func TestSchemaComesBack(t *testing.T) {
	s := everyType()
	got, err := change.ParseAvroSchema(s.AvroSchema())
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, s)
	}
}

func TestGoldenBytes(t *testing.T) {
	files := map[string][]byte{"tx.avro": change.AppendTxAvro(nil, txRecord()), "tx.json": change.AppendTxJSON(nil, txRecord())}
	for name, ev := range events() {
		files[name+".avro"] = change.AppendAvro(nil, ev)
		files[name+".json"] = change.AppendJSON(nil, ev)
	}
	for name, b := range files {
		if strings.HasSuffix(name, ".avro") {
			b = []byte(hex.Dump(b))
		} else {
			b = append(b, '\n')
		}
		path := filepath.Join("testdata", "golden", name)
		if *rewrite {
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, want) {
			t.Errorf("%s: the wire format changed:\n%s\nwant\n%s", name, b, want)
		}
	}
}

func TestEventsComeBack(t *testing.T) {
	for name, ev := range events() {
		var got change.Event
		if err := change.DecodeAvro(change.AppendAvro(nil, ev), ev.Schema, &got); err != nil || !reflect.DeepEqual(&got, ev) {
			t.Errorf("%s, avro: got %+v, %v\nwant %+v", name, got, err, ev)
		}
		if err := change.DecodeJSON(change.AppendJSON(nil, ev), ev.Schema, &got); err != nil || !reflect.DeepEqual(&got, ev) {
			t.Errorf("%s, json: got %+v, %v\nwant %+v", name, got, err, ev)
		}
	}
	var tx change.TxRecord
	if err := change.DecodeTxAvro(change.AppendTxAvro(nil, txRecord()), &tx); err != nil || !reflect.DeepEqual(&tx, txRecord()) {
		t.Errorf("tx, avro: got %+v, %v", tx, err)
	}
	if err := change.DecodeTxJSON(change.AppendTxJSON(nil, txRecord()), &tx); err != nil || !reflect.DeepEqual(&tx, txRecord()) {
		t.Errorf("tx, json: got %+v, %v", tx, err)
	}
}

// Another implementation of Avro reads what we write, and writes it back to the
// same bytes.
func TestAvroLibraryAgrees(t *testing.T) {
	check := func(name, schema string, b []byte) {
		t.Helper()
		s, err := avro.Parse(schema)
		if err != nil {
			t.Fatalf("%s: the schema is not Avro: %v", name, err)
		}
		var v any
		rest, err := s.Decode(b, &v)
		if err != nil || len(rest) != 0 {
			t.Fatalf("%s: %v, %d bytes left", name, err, len(rest))
		}
		again, err := s.Encode(v)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: encoded again %x, %v\nwant %x", name, again, err, b)
		}
	}
	for name, ev := range events() {
		check(name, ev.Schema.AvroSchema(), change.AppendAvro(nil, ev))
	}
	check("tx", change.TxAvroSchema(), change.AppendTxAvro(nil, txRecord()))
}

func TestRowsAndFramesComeBack(t *testing.T) {
	for _, row := range [][]change.Value{nil, whole(), odd()} {
		got, err := change.DecodeValues(change.AppendValues(nil, row), nil)
		if err != nil || !reflect.DeepEqual(got, row) {
			t.Errorf("got %v, %v, want %v", got, err, row)
		}
	}
	id, body, err := change.CutFrame(append(change.AppendFrame(nil, 0xdeadbeef), 'x'))
	if id != 0xdeadbeef || string(body) != "x" || err != nil {
		t.Errorf("frame: %x %q %v", id, body, err)
	}
}

func TestPositions(t *testing.T) {
	p := change.Position{Generation: 1, Ordinal: 1<<64 - 1, Sequence: 3}
	if q, err := change.ParsePosition(p.String()); q != p || err != nil {
		t.Errorf("%v, %v", q, err)
	}
	for _, bad := range []string{"", "1.2", "1.2.3.4", "01.2.3", "+1.2.3", "-1.2.3", "a.b.c", "1.2.18446744073709551616"} {
		if _, err := change.ParsePosition(bad); err == nil {
			t.Errorf("%q was taken for a position", bad)
		}
	}
	if p.Compare(p.Transaction()) != 1 || p.Compare(change.Position{Generation: 2}) != -1 || p.Compare(p) != 0 {
		t.Error("order")
	}
}

func FuzzDecodeAvro(f *testing.F) {
	s := everyType()
	for _, ev := range events() {
		f.Add(change.AppendAvro(nil, ev))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var ev, again change.Event
		if change.DecodeAvro(b, s, &ev) != nil {
			return
		}
		c := change.AppendAvro(nil, &ev)
		if err := change.DecodeAvro(c, s, &again); err != nil || !reflect.DeepEqual(ev, again) {
			t.Fatalf("%+v came back as %+v, %v", ev, again, err)
		}
	})
}

func FuzzTexts(f *testing.F) {
	f.Add("007", uint8(change.Int), "x")
	f.Add("-0", uint8(change.Float), "")
	f.Add("\x00\xfe", uint8(change.Bytes), "\u2028")
	f.Fuzz(func(t *testing.T, text string, typ uint8, other string) {
		s := &change.Schema{Table: change.Table{Source: "s", Name: "t"}, Columns: []change.Column{
			{Name: "a", Type: change.Type(typ%uint8(change.EnumSet)) + 1}, {Name: "b", Type: change.String}}}
		ev := &change.Event{Op: change.Create, Schema: s, Committed: time.Unix(0, 0).UTC(), After: texts(text, other)}
		var got change.Event
		if err := change.DecodeAvro(change.AppendAvro(nil, ev), s, &got); err != nil || !reflect.DeepEqual(&got, ev) {
			t.Fatalf("avro: %+v came back as %+v, %v", ev, got, err)
		}
		valid := strings.ToValidUTF8(other, "") == other
		if s.Columns[0].Type != change.Bytes {
			valid = valid && strings.ToValidUTF8(text, "") == text
		}
		if !valid {
			return
		}
		if err := change.DecodeJSON(change.AppendJSON(nil, ev), s, &got); err != nil || !reflect.DeepEqual(&got, ev) {
			t.Fatalf("json: %+v came back as %+v, %v", ev, got, err)
		}
	})
}

func FuzzDecodeOthers(f *testing.F) {
	f.Add(change.AppendTxAvro(nil, txRecord()))
	f.Add(change.AppendTxJSON(nil, txRecord()))
	f.Add(change.AppendValues(nil, whole()))
	f.Add([]byte(everyType().AvroSchema()))
	for _, ev := range events() {
		f.Add(change.AppendJSON(nil, ev))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var tx, again change.TxRecord
		if change.DecodeTxAvro(b, &tx) == nil {
			if err := change.DecodeTxAvro(change.AppendTxAvro(nil, &tx), &again); err != nil || !reflect.DeepEqual(tx, again) {
				t.Fatalf("%+v came back as %+v, %v", tx, again, err)
			}
		}
		_ = change.DecodeTxJSON(b, &tx)
		var ev change.Event
		_ = change.DecodeJSON(b, everyType(), &ev)
		if row, err := change.DecodeValues(b, nil); err == nil {
			if got, err := change.DecodeValues(change.AppendValues(nil, row), nil); err != nil || !reflect.DeepEqual(got, row) {
				t.Fatalf("%v came back as %v, %v", row, got, err)
			}
		}
		if s, err := change.ParseAvroSchema(string(b)); err == nil {
			if got, err := change.ParseAvroSchema(s.AvroSchema()); err != nil || !reflect.DeepEqual(got, s) {
				t.Fatalf("%+v came back as %+v, %v", s, got, err)
			}
		}
	})
}

func BenchmarkAppendAvro(b *testing.B) {
	ev := events()["update"]
	buf := change.AppendAvro(nil, ev)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = change.AppendAvro(buf[:0], ev)
	}
}

func BenchmarkDecodeAvro(b *testing.B) {
	ev := events()["update"]
	buf := change.AppendAvro(nil, ev)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	var got change.Event
	for b.Loop() {
		if err := change.DecodeAvro(buf, ev.Schema, &got); err != nil {
			b.Fatal(err)
		}
	}
}
