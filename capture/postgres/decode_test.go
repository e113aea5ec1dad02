package postgres

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/tributary-health/tributary/capture"
	"github.com/tributary-health/tributary/change"
)

var fuzzSchema = &change.Schema{Table: change.Table{Source: "s", Name: "t"}, Columns: []change.Column{
	{Name: "id", Type: change.Int, Key: true}, {Name: "member", Type: change.String}, {Name: "raw", Type: change.Bytes},
	{Name: "at", Type: change.Instant}, {Name: "ok", Type: change.Bool},
}}

// nowhere is a Log that takes everything.
type nowhere struct{ capture.Log }

func (nowhere) Append(context.Context, string, *change.Event) error     { return nil }
func (nowhere) End(context.Context, change.TxRecord) error              { return nil }
func (nowhere) Watermark(context.Context, change.Mark, time.Time) error { return nil }
func (nowhere) Durable() change.Mark                                    { return change.Mark{} }

func fuzzStream() *stream {
	cfg := Config{Source: "s"}.withDefaults()
	return &stream{ctx: context.Background(), cfg: &cfg, log: nowhere{}, confirm: confirmer{log: nowhere{}}, open: true, final: 8,
		relations: map[uint32]*relation{7: {table: capture.Table{Table: fuzzSchema.Table, Route: change.Route{Kind: change.ByMember, Column: "member"}},
			schema: fuzzSchema, identity: []bool{true, true, false, false, false}, watch: []int{0, 1}, route: 1, covered: true}},
		tables: nil}
}

// FuzzMessage feeds anything to the stream's decoder: it must not panic, and
// what it refuses it must refuse as its own kind of error.
func FuzzMessage(f *testing.F) {
	tuple := func(kinds string, texts ...string) string {
		b := binary.BigEndian.AppendUint16(nil, uint16(len(kinds)))
		for i := range kinds {
			b = append(b, kinds[i])
			if kinds[i] == 't' {
				b = append(binary.BigEndian.AppendUint32(b, uint32(len(texts[0]))), texts[0]...)
				texts = texts[1:]
			}
		}
		return string(b)
	}
	head := "w" + strings.Repeat("\x00", 24)
	rel := "\x00\x00\x00\x07"
	f.Add([]byte(head + "I" + rel + "N" + tuple("ttttt", "1", "a", `\x00ff`, "2026-01-02 03:04:05+00", "t")))
	f.Add([]byte(head + "U" + rel + "K" + tuple("ttnnn", "1", "a") + "N" + tuple("ttunn", "1", "b")))
	f.Add([]byte(head + "U" + rel + "N" + tuple("ttunn", "1", "b")))
	f.Add([]byte(head + "D" + rel + "O" + tuple("ttnnn", "1", "a")))
	f.Add([]byte(head + "T\x00\x00\x00\x01\x00" + rel))
	f.Add([]byte(head + "A\x00\x00\x00\x01\x00\x00\x00\x02"))
	f.Add([]byte(head + "R\x00\x00\x00\x09public\x00x\x00d\x00\x01\x01id\x00\x00\x00\x00\x17\xff\xff\xff\xff"))
	f.Add([]byte("k" + strings.Repeat("\x01", 17)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := fuzzStream()
		if err := s.data(b); err != nil {
			if _, ok := err.(*capture.Error); !ok {
				t.Fatalf("error of type %T: %v", err, err)
			}
		}
	})
}

// FuzzCopy escapes any row as COPY does and reads it back, and reads anything.
func FuzzCopy(f *testing.F) {
	f.Add("plain", "tab\tnewline\nback\\slash", true)
	f.Add(`\N`, "", false)
	f.Add("\b\f\r\v", `\`, true)
	s := &change.Schema{Columns: []change.Column{{Name: "a", Type: change.String}, {Name: "b", Type: change.String}, {Name: "c", Type: change.Bytes}}}
	escape := strings.NewReplacer("\\", `\\`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\v", `\v`)
	f.Fuzz(func(t *testing.T, a, b string, null bool) {
		var r row
		var scratch []byte
		line, want := escape.Replace(a)+"\t"+escape.Replace(b)+"\t", []change.Value{change.Of(a), change.Of(b), {}}
		if null {
			line += `\N`
		} else {
			line, want[2] = line+`\\x00ff`, change.Of("\x00\xff")
		}
		if err := r.copyLine([]byte(line), s, &scratch); err != nil {
			t.Fatal(err)
		}
		for i, v := range r.values {
			if v != want[i] {
				t.Fatalf("column %d: %q, want %q", i, v.Text, want[i].Text)
			}
		}
		_ = r.copyLine([]byte(a), s, &scratch) // must not panic
	})
}

// TestRowIsReused: values of one row are not seen through the next.
func TestRowIsReused(t *testing.T) {
	var r row
	var scratch []byte
	s := &change.Schema{Columns: []change.Column{{Name: "a", Type: change.String}, {Name: "b", Type: change.String}}}
	for _, line := range []string{"x\ty", `\N` + "\tz"} {
		if err := r.copyLine([]byte(line), s, &scratch); err != nil {
			t.Fatal(err)
		}
	}
	if r.values[0] != (change.Value{}) || r.values[1] != change.Of("z") {
		t.Errorf("%+v", r.values)
	}
}

// TestErrorsQuoteNoValue: what the server says of a value stays out of errors.
func TestErrorsQuoteNoValue(t *testing.T) {
	s := fuzzStream()
	err := s.decodeError(s.relations[7], (&row{}).tuple(&cursor{b: []byte("\x00\x05t\x00\x00\x00\x011t\x00\x00\x00\x01at\x00\x00\x00\x06secretnn")}, fuzzSchema, nil))
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "column raw") {
		t.Errorf("error %v", err)
	}
}
