package api

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// pair is one parameter as it was sent, decoded.
type pair struct {
	name, value string
}

// parsePairs reads a query or form, in order.
func parsePairs(query string) ([]pair, error) {
	var pairs []pair
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		if len(pairs) == maxPairs {
			return nil, problem{status: http.StatusBadRequest, code: "too-costly", text: fmt.Sprintf("more than %d parameters", maxPairs)}
		}
		name, value, _ := strings.Cut(part, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			return nil, badParameter(n, "is not properly encoded")
		}
		pairs = append(pairs, pair{n, v})
	}
	return pairs, nil
}

// encodePairs is the query that parsePairs reads back.
func encodePairs(pairs []pair) string {
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(p.name))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(p.value))
	}
	return b.String()
}

// page is where a page link goes on: in which store, at which commit number, in
// which query, behind what. The zero page is the first one, at the frontier. A link
// carries it sealed, so that it shows nothing, cannot be changed, and works only for
// the caller and the path it was made for, and for the store: a number of one build
// of a client's store is nothing in the next one.
type page struct {
	generation string // of the store
	commit     uint64
	total      uint64 // 1 + the total that the first page counted; 0 if it did not
	before     uint64 // history: below this version
	after      cursor // search: behind this match
	pairs      []pair
}

// cursor is the place of one match in the order of a search's results.
type cursor struct {
	key        string
	member, id string
}

const pageParam = "_page"

// pageText is how a sealed page stands in an address: in one way only.
var pageText = base64.RawURLEncoding.Strict()

// pageSeal seals page links. It is deterministic, so that two answers that show
// the same are the same bytes: the nonce is a MAC of what is sealed and what it is
// bound to, under a key of its own. That is safe because a nonce then comes back
// only with the very same text, whose seal is the same bytes and shows nothing but
// that it is the same link. Two texts with one MAC of 96 bits are not to be
// expected before 2^48 links.
type pageSeal struct {
	aead  cipher.AEAD
	nonce []byte // the key of the nonces
}

func newSeal(key []byte) *pageSeal {
	if len(key) == 0 {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails
	}
	derive := func(purpose string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("tributary page link 3: " + purpose))
		return mac.Sum(nil)
	}
	block, err := aes.NewCipher(derive("seal"))
	if err != nil {
		panic(err) // a key of 32 bytes is always good
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &pageSeal{aead, derive("nonce")}
}

// nonceOf is the one nonce of a text and what it is bound to.
func (s *pageSeal) nonceOf(text, bound []byte) []byte {
	mac := hmac.New(sha256.New, s.nonce)
	mac.Write(binary.AppendUvarint(nil, uint64(len(bound))))
	mac.Write(bound)
	mac.Write(text)
	return mac.Sum(nil)[:s.aead.NonceSize()]
}

func (s *pageSeal) seal(text, bound []byte) []byte {
	nonce := s.nonceOf(text, bound)
	return s.aead.Seal(nonce, nonce, text, bound)
}

// open takes only what seal made: of each text there is one seal.
func (s *pageSeal) open(sealed, bound []byte) (text []byte, ok bool) {
	size := s.aead.NonceSize()
	if len(sealed) < size {
		return nil, false
	}
	text, err := s.aead.Open(nil, sealed[:size], sealed[size:], bound)
	return text, err == nil && hmac.Equal(sealed[:size], s.nonceOf(text, bound))
}

func (p *page) append(b []byte) []byte {
	b = appendString(b, p.generation)
	b = binary.AppendUvarint(b, p.commit)
	b = binary.AppendUvarint(b, p.total)
	b = binary.AppendUvarint(b, p.before)
	for _, s := range []string{p.after.key, p.after.member, p.after.id} {
		b = appendString(b, s)
	}
	for _, q := range p.pairs {
		b = appendString(appendString(b, q.name), q.value)
	}
	return b
}

func (p *page) decode(b []byte) (ok bool) {
	if p.generation, b, ok = cutString(b); !ok {
		return false
	}
	for _, n := range []*uint64{&p.commit, &p.total, &p.before} {
		k := 0
		if *n, k = binary.Uvarint(b); k <= 0 {
			return false
		}
		b = b[k:]
	}
	for _, s := range []*string{&p.after.key, &p.after.member, &p.after.id} {
		if *s, b, ok = cutString(b); !ok {
			return false
		}
	}
	for len(b) > 0 {
		var q pair
		if q.name, b, ok = cutString(b); !ok {
			return false
		}
		if q.value, b, ok = cutString(b); !ok {
			return false
		}
		p.pairs = append(p.pairs, q)
	}
	return true
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return "", nil, false
	}
	return string(b[k : k+int(n)]), b[k+int(n):], true
}

// bound is what a sealed page is tied to: the caller and the path.
func (r *request) bound(scope string) []byte {
	return []byte(r.caller.ClientID + "\x00" + scope)
}

// pageOf opens the page link in the pairs, if there is one. It stands alone, but
// for what some clients put to every address.
func (r *request) pageOf(scope string, pairs []pair) (p page, paged bool, err error) {
	others := 0
	for _, q := range pairs {
		if q.name != "_format" && q.name != "_pretty" {
			others++
		}
	}
	for _, q := range pairs {
		if q.name != pageParam {
			continue
		}
		if others > 1 {
			return p, false, badParameter(pageParam, "stands alone: follow the link as it is")
		}
		sealed, err := pageText.DecodeString(q.value)
		ok := err == nil
		if ok {
			sealed, ok = r.seal.open(sealed, r.bound(scope))
		}
		if !ok || !p.decode(sealed) || p.commit == 0 {
			return p, false, badParameter(pageParam, "is not a link that this server gave to this client for this path")
		}
		return p, true, nil
	}
	return p, false, nil
}

// outdated is the answer to a link into a store that is no more.
var outdated = problem{status: http.StatusGone, code: "expired", text: "parameter \"_page\": the store was made anew since the first page: start again"}

// openPage opens the view that the page is at.
func (r *request) openPage(p page) (View, error) {
	if p.commit == 0 {
		return r.open(0)
	}
	store, err := r.ownStore()
	if err != nil {
		return nil, err
	}
	if p.generation != store.Generation() {
		return nil, outdated
	}
	newest, err := store.At(0)
	if err != nil {
		return nil, fmt.Errorf("api: open view: %w", err)
	}
	frontier := newest.Number()
	if err := newest.Close(); err != nil {
		return nil, fmt.Errorf("api: close view: %w", err)
	}
	if p.commit > frontier {
		return nil, outdated
	}
	return r.open(p.commit)
}

// pageLink is the absolute address of a page.
func (r *request) pageLink(path, scope string, p page) string {
	p.generation = r.store.Generation()
	sealed := r.seal.seal(p.append(nil), r.bound(scope))
	return r.base() + "/" + path + "?" + pageParam + "=" + pageText.EncodeToString(sealed)
}

// address is the absolute address of a path with its parameters.
func (r *request) address(path string, pairs []pair) string {
	address := r.base() + "/" + path
	if len(pairs) > 0 {
		address += "?" + encodePairs(pairs)
	}
	return address
}
