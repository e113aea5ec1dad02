package mysql

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	proto "github.com/go-mysql-org/go-mysql/mysql"
	"golang.org/x/text/encoding/unicode"

	"github.com/tributary-health/tributary/change"
)

var everyKind = []column{
	{name: "a", code: proto.MYSQL_TYPE_TINY}, {name: "b", code: proto.MYSQL_TYPE_LONGLONG, unsigned: true},
	{name: "c", code: proto.MYSQL_TYPE_NEWDECIMAL, digits: 20, scale: 7}, {name: "d", code: proto.MYSQL_TYPE_DOUBLE},
	{name: "e", code: proto.MYSQL_TYPE_DATETIME2, scale: 6}, {name: "f", code: proto.MYSQL_TYPE_TIMESTAMP2, scale: 3},
	{name: "g", code: proto.MYSQL_TYPE_TIME2, scale: 2}, {name: "h", code: proto.MYSQL_TYPE_DATE},
	{name: "i", code: proto.MYSQL_TYPE_YEAR}, {name: "j", code: proto.MYSQL_TYPE_BIT, length: 12},
	{name: "k", code: proto.MYSQL_TYPE_ENUM, length: 1, charset: "utf8mb4", members: []string{"x", "y"}},
	{name: "l", code: proto.MYSQL_TYPE_SET, length: 1, charset: "utf8mb4", members: []string{"x", "y"}},
	{name: "m", code: proto.MYSQL_TYPE_VARCHAR, length: 300, charset: "utf16"},
	{name: "n", code: proto.MYSQL_TYPE_STRING, length: 9, charset: "latin1"},
	{name: "o", code: proto.MYSQL_TYPE_STRING, length: 9, charset: "binary"},
	{name: "p", code: proto.MYSQL_TYPE_BLOB, length: 4, charset: "utf8mb4"},
	{name: "q", code: proto.MYSQL_TYPE_JSON, length: 4}, {name: "r", code: 99},
}

// FuzzRows reads any bytes as a rows event: an error, never a panic, and text is
// always UTF-8.
func FuzzRows(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 1, 0, 18, 0xff, 0xff, 3, 0, 0, 0, 1}, false, false)
	f.Add([]byte{1, 0, 0, 0, 0, 0, 1, 0, 4, 0, 1, 2, 18, 1, 0, 0, 0, 0x7f}, true, true)
	f.Fuzz(func(t *testing.T, b []byte, update, second bool) {
		op, version := change.Create, 1
		if update {
			op = change.Update
		}
		if second {
			version = 2
		}
		h, err := readRowsHead(b, op, version, false)
		if err != nil || h.columns != len(everyKind) {
			return
		}
		var d rowDecoder
		for c := (cursor{b: h.rows}); len(c.b) > 0; {
			before := len(c.b)
			row, err := d.image(nil, &c, everyKind, h.first, nil)
			if err != nil {
				return
			}
			if len(c.b) == before {
				return // an image of no columns takes no bytes
			}
			for i, v := range row {
				if everyKind[i].charset != "binary" && !utf8.ValidString(v.Text) {
					t.Fatalf("column %s: %q is not UTF-8", everyKind[i].name, v.Text)
				}
			}
		}
	})
}

// FuzzHeads reads any bytes as the other events that are read by hand.
func FuzzHeads(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1, 'd', 0, 1, 't', 0, 2, 3, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := readMapHead(b); err == nil && len(h.types) > len(b) {
			t.Fatal("more types than bytes")
		}
		_, _ = payloadOf(b)
		_, _ = inflate(b)
	})
}

// FuzzStatement classifies any text; and a comment or a line break before it
// changes nothing.
func FuzzStatement(f *testing.F) {
	f.Add("TRUNCATE TABLE `a``b`.t")
	f.Add("ALTER TABLE t ADD c INT, RENAME TO `x` /* y */")
	f.Add("/*!50100 DROP TABLE */ a, b.c")
	f.Fuzz(func(t *testing.T, text string) {
		a, b := classify([]byte(text), "d"), classify([]byte("/* x */\n"+text), "d")
		if a.kind != b.kind || len(a.tables) != len(b.tables) {
			t.Fatalf("%+v, with a comment before it %+v", a, b)
		}
	})
}

// FuzzDecimal packs a number as the server does, and reads it back.
func FuzzDecimal(f *testing.F) {
	f.Add(int64(-1234567890123), uint8(18), uint8(5))
	f.Add(int64(0), uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, n int64, digits, scale uint8) {
		digits = digits%65 + 1
		scale %= min(digits, 30) + 1
		limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
		v := new(big.Int).Rem(big.NewInt(n), limit)
		c := cursor{b: packDecimal(v, int(digits), int(scale))}
		got, err := appendDecimal(nil, &c, int(digits), int(scale))
		if err != nil || len(c.b) != 0 {
			t.Fatal(err, len(c.b))
		}
		text := new(big.Int).Abs(v).String()
		text = strings.Repeat("0", max(0, int(scale)+1-len(text))) + text
		if scale > 0 {
			text = text[:len(text)-int(scale)] + "." + text[len(text)-int(scale):]
		}
		if v.Sign() < 0 {
			text = "-" + text
		}
		if string(got) != text {
			t.Fatalf("got %s, want %s", got, text)
		}
	})
}

func packDecimal(v *big.Int, digits, scale int) []byte {
	text := new(big.Int).Abs(v).String()
	text = strings.Repeat("0", digits-len(text)) + text
	whole, fraction := text[:digits-scale], text[digits-scale:]
	var b []byte
	group := func(s string) {
		n, _ := new(big.Int).SetString("0"+s, 10)
		b = append(b, n.FillBytes(make([]byte, decimalBytes[len(s)]))...)
	}
	group(whole[:len(whole)%9])
	for s := whole[len(whole)%9:]; s != ""; s = s[9:] {
		group(s[:9])
	}
	for ; len(fraction) >= 9; fraction = fraction[9:] {
		group(fraction[:9])
	}
	group(fraction)
	b[0] |= 0x80
	if v.Sign() < 0 {
		for i := range b {
			b[i] = ^b[i]
		}
	}
	return b
}

// FuzzJSON keeps what a JSON text says, and says it once and for all.
func FuzzJSON(f *testing.F) {
	f.Add(`{"a": [1.0, "\u0001é\n", 1e300, 0.00001], "b": {}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) || !utf8.ValidString(text) {
			return
		}
		got, err := appendJSON(nil, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if json.Unmarshal([]byte(text), &a) != nil { // a number beyond float64
			return
		}
		if err := json.Unmarshal(got, &b); err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%s became %s (%v)", text, got, err)
		}
		again, err := appendJSON(nil, got)
		if err != nil || string(again) != string(got) {
			t.Fatalf("%s became %s, then %s (%v)", text, got, again, err)
		}
	})
}

// FuzzUTF16 agrees with a decoder from elsewhere on what is valid and on the text.
func FuzzUTF16(f *testing.F) {
	f.Add([]byte{0, 'a', 0xd8, 0x3d, 0xde, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := appendText(nil, b, "utf16")
		want, _ := unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewDecoder().Bytes(b)
		if err == nil && string(got) != string(want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if err != nil && !strings.ContainsRune(string(want), utf8.RuneError) {
			t.Fatalf("refused %x, which is %q", b, want)
		}
	})
}

func TestStatements(t *testing.T) {
	for text, want := range map[string]statement{
		"BEGIN":                                  {kind: begins},
		"COMMIT":                                 {kind: commits},
		"ROLLBACK":                               {kind: rollsBack},
		"ROLLBACK TO `s`":                        {},
		"ROLLBACK WORK TO s":                     {},
		"SAVEPOINT `s2`":                         {},
		"XA START X'61',X'',1":                   {kind: prepares},
		"# Dum":                                  {},
		"":                                       {},
		"insert into t values (1)":               {kind: modifies},
		"SET STATEMENT a=1 FOR UPDATE t SET b=1": {kind: modifies},
		"SET PASSWORD FOR a='x'":                 {},
		"DELETE FROM `d`.`mem`":                  {kind: affects, tables: []name{{"d", "mem"}}},
		"DELETE FROM t WHERE a=1":                {kind: modifies},
		"truncate t":                             {kind: affects, tables: []name{{"def", "t"}}},
		"TRUNCATE TABLE `x`.`t`":                 {kind: affects, tables: []name{{"x", "t"}}},
		"/*!40000 TRUNCATE TABLE */ `we``ird`":   {kind: affects, tables: []name{{"def", "we`ird"}}},
		"DROP TABLE IF EXISTS `a`,`b`.`c` /* gen */":                            {kind: affects, tables: []name{{"def", "a"}, {"b", "c"}}},
		"DROP /*!40005 TEMPORARY */ TABLE t":                                    {},
		"DROP VIEW t":                                                           {},
		"drop database if exists dd":                                            {kind: affects, whole: "dd"},
		"RENAME TABLE a TO b, c.d WAIT 5 TO e":                                  {kind: affects, tables: []name{{"def", "a"}, {"def", "b"}, {"c", "d"}, {"def", "e"}}},
		"CREATE TABLE t (a INT)":                                                {},
		"CREATE OR REPLACE TABLE t (a INT)":                                     {kind: affects, tables: []name{{"def", "t"}}},
		"CREATE OR REPLACE VIEW t AS SELECT 1":                                  {},
		"ALTER TABLE t ADD c INT COMMENT 'RENAME'":                              {},
		"ALTER TABLE t RENAME COLUMN a TO b":                                    {},
		"ALTER TABLE t ADD (x INT), RENAME u":                                   {kind: affects, tables: []name{{"def", "t"}, {"def", "u"}}},
		"ALTER TABLE t TRUNCATE PARTITION p":                                    {kind: affects, tables: []name{{"def", "t"}}},
		"ALTER TABLE t EXCHANGE PARTITION p WITH TABLE x.y":                     {kind: affects, tables: []name{{"def", "t"}, {"x", "y"}}},
		"ALTER TABLE t DROP PRIMARY KEY":                                        {kind: affects, tables: []name{{"def", "t"}}},
		"ALTER TABLE t ALTER COLUMN a SET DEFAULT 5":                            {},
		"ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES p (a) ON UPDATE SET NULL": {kind: affects, tables: []name{{"def", "t"}}},
		"GRANT SELECT ON t TO u":                                                {},
		"ANALYZE TABLE t":                                                       {},
	} {
		got := classify([]byte(text), "def")
		if got.kind != want.kind || got.whole != want.whole || len(got.tables) != len(want.tables) {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
			continue
		}
		for i := range got.tables {
			if got.tables[i] != want.tables[i] {
				t.Errorf("%s: got %v, want %v", text, got.tables, want.tables)
			}
		}
		if got.kind == affects && got.what == "" {
			t.Errorf("%s: does not say what it does", text)
		}
	}
}
