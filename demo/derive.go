package demo

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// digest is the source of everything invented: a hash of a purpose and texts, so that equal rows give equal inventions on every
// machine and at every load.
func digest(purpose string, texts ...string) [32]byte {
	h := sha256.New()
	var n [4]byte
	for _, t := range append([]string{purpose}, texts...) {
		binary.BigEndian.PutUint32(n[:], uint32(len(t))) // so that "a","bc" and "ab","c" differ
		h.Write(n[:])
		h.Write([]byte(t))
	}
	return [32]byte(h.Sum(nil))
}

// surrogate is a row's invented primary key: a UUID of version 8 (free form) from the table, the texts of the row's natural key,
// and its place among the rows with that same key, from 0.
func surrogate(table string, nth int, key ...string) string {
	sum := digest("id:"+table, append(key, fmt.Sprint(nth))...)
	b := sum[:16]
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	x := hex.EncodeToString(b)
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// areaCodes are Massachusetts', where the sample's members live.
var areaCodes = []string{"339", "351", "413", "508", "617", "774", "781", "857", "978"}

// phoneNumber is one of the 555-0100 to 555-0199 numbers, which are kept for fiction.
func phoneNumber(patient string) string {
	sum := digest("phone", patient)
	return fmt.Sprintf("(%s) 555-01%02d", areaCodes[int(sum[0])%len(areaCodes)], int(sum[1])%100)
}

// emailAddress is made of the names, at example.org, with four hex digits that tell namesakes apart.
func emailAddress(patient, first, last string) string {
	sum := digest("email", patient)
	return plain(first) + "." + plain(last) + "." + hex.EncodeToString(sum[:2]) + "@example.org"
}

// plain keeps a name's letters and digits, without accents, in lower case.
func plain(name string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(strings.ToLower(name)) {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			b.WriteRune(r)
		}
	}
	if b.Len() == 0 {
		return "x"
	}
	return b.String()
}

// memberNumber is what the payer calls the person: three groups of four letters and digits.
func memberNumber(patient string) string {
	sum := digest("member", patient)
	s := base32.StdEncoding.EncodeToString(sum[:10])
	return "M" + s[:4] + "-" + s[4:8] + "-" + s[8:12]
}

// nationalProvider is an NPI that nobody was issued: it begins with 9 (issued ones with 1 or 2) and its check digit is right.
// try tells apart providers that would share one.
func nationalProvider(provider string, try int) string {
	sum := digest("npi", provider, fmt.Sprint(try))
	body := fmt.Sprintf("9%08d", binary.BigEndian.Uint64(sum[:8])%1e8)
	return body + string(rune('0'+luhn("80840"+body)))
}

// validNPI tells whether text is ten digits whose check digit is right.
func validNPI(text string) bool {
	if len(text) != 10 || strings.Trim(text, "0123456789") != "" {
		return false
	}
	return luhn("80840"+text[:9]) == int(text[9]-'0')
}

// luhn is the check digit to put behind digits.
func luhn(digits string) int {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return (10 - sum%10) % 10
}

//go:embed crosswalk/medication-ndc.tsv
var ndcTable string

// drugCodes returns the NDC of an RxNorm code: the one in the crosswalk, or else an invented one in the range 99998-0000-00 to
// 99998-9999-99, whose labeler code nobody has. Eleven digits without hyphens, as claims carry them.
func drugCodes() (func(rxnorm string) string, error) {
	known := map[string]string{}
	for i, line := range strings.Split(strings.TrimSpace(ndcTable), "\n") {
		f := strings.Split(strings.TrimRight(line, "\r"), "\t")
		if len(f) < 2 || i > 0 && len(f[1]) != 11 {
			return nil, &cellError{"crosswalk/medication-ndc.tsv", i + 1, "", "not an RxNorm code and an 11-digit NDC"}
		}
		known[f[0]] = f[1]
	}
	return func(rxnorm string) string {
		if ndc, ok := known[rxnorm]; ok {
			return ndc
		}
		sum := digest("ndc", rxnorm)
		return fmt.Sprintf("99998%06d", binary.BigEndian.Uint64(sum[:8])%1e6)
	}, nil
}
