package hashmatch

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxRequest is the size of the largest request in bytes.
const MaxRequest = 16 << 10

// ContentType is that of a request.
const ContentType = "application/fhir+json"

// Request is what a partner sends: tokens and what they were made with.
type Request struct {
	Version string
	Epoch   Epoch
	Tokens  []Token
}

// ErrNothing says that the demographics give no token.
var ErrNothing = errors.New("hash match: the demographics give no token; a given name with a birth date and one more fact, or a birth date with the last four digits, are the least")

// Request makes the request for one person, of at most [MaxTokens] tokens. Its
// error is ErrNothing.
func (k EpochKey) Request(d Demographics) (Request, error) {
	in := Normalize(d).Inputs()
	if len(in) == 0 {
		return Request{}, ErrNothing
	}
	return Request{Version, k.epoch, k.Tokens(in[:min(len(in), MaxTokens)])}, nil
}

// A request as FHIR Parameters.
type (
	parameters struct {
		ResourceType string      `json:"resourceType"`
		Parameter    []parameter `json:"parameter"`
	}
	parameter struct {
		Name   string `json:"name"`
		Code   string `json:"valueCode,omitempty"`
		String string `json:"valueString,omitempty"`
		Part   []part `json:"part,omitempty"`
	}
	part struct {
		Name   string `json:"name"`
		Code   string `json:"valueCode,omitempty"`
		String string `json:"valueString,omitempty"`
	}
)

// Encode is the request as FHIR Parameters in JSON.
func (r Request) Encode() []byte {
	p := parameters{"Parameters", []parameter{{Name: "version", String: r.Version}, {Name: "epoch", String: string(r.Epoch)}}}
	for _, t := range r.Tokens {
		p.Parameter = append(p.Parameter, parameter{Name: "token", Part: []part{
			{Name: "kind", Code: string(t.Kind)}, {Name: "value", String: hex.EncodeToString(t.Value[:])}}})
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings alone
	}
	return b
}

// DecodeRequest reads what Encode writes, members in any order, and nothing
// else: an unknown or repeated member, a repeated token, an unknown kind,
// another version, more than [MaxTokens] or more of a kind than one person has are
// errors. Whether the epoch is
// accepted is for the caller. No error shows what was read.
func DecodeRequest(body []byte) (Request, error) {
	r, err := decodeRequest(body)
	if err != nil {
		return Request{}, fmt.Errorf("hash match request: %w", err)
	}
	return r, nil
}

func decodeRequest(body []byte) (Request, error) {
	if len(body) > MaxRequest {
		return Request{}, fmt.Errorf("more than %d bytes", MaxRequest)
	}
	if err := onlyKnown(body); err != nil {
		return Request{}, err
	}
	var p parameters
	strict := json.NewDecoder(bytes.NewReader(body))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&p); err != nil {
		return Request{}, errNotParameters // the cause may show a value
	}
	if p.ResourceType != "Parameters" {
		return Request{}, errNotParameters
	}
	var r Request
	seen := map[Token]bool{}
	for i, q := range p.Parameter {
		if err := r.add(q, seen); err != nil {
			return Request{}, fmt.Errorf("parameter %d: %w", i+1, err)
		}
	}
	of := map[Kind]int{}
	for _, t := range r.Tokens {
		if of[t.Kind]++; of[t.Kind] > t.Kind.most() {
			return Request{}, errors.New("more tokens of a kind than one person has")
		}
	}
	switch {
	case r.Version == "" || r.Epoch == "":
		return Request{}, errors.New("no parameter version, or none named epoch")
	case len(r.Tokens) == 0:
		return Request{}, errors.New("no token")
	}
	return r, nil
}

var errNotParameters = errors.New("not a FHIR Parameters resource of this form in JSON; see docs/matching.md")

func (r *Request) add(q parameter, seen map[Token]bool) error {
	switch {
	case q.Name == "version" && q.Code == "" && q.Part == nil && r.Version == "":
		if q.String != Version {
			return errors.New("another version than " + Version)
		}
		r.Version = q.String
	case q.Name == "epoch" && q.Code == "" && q.Part == nil && r.Epoch == "":
		if r.Epoch = Epoch(q.String); !r.Epoch.valid() {
			return errors.New("no epoch, such as 2026Q4")
		}
	case q.Name == "token" && q.Code == "" && q.String == "":
		t, err := readToken(q.Part)
		if err != nil {
			return err
		}
		if seen[t] {
			return errors.New("a token twice")
		}
		if seen[t] = true; len(seen) > MaxTokens {
			return fmt.Errorf("more than %d tokens", MaxTokens)
		}
		r.Tokens = append(r.Tokens, t)
	default:
		return errors.New("not version, epoch or token, or once too often, or another type of value")
	}
	return nil
}

func readToken(parts []part) (Token, error) {
	var t Token
	value := ""
	for _, p := range parts {
		switch {
		case p.Name == "kind" && p.String == "" && t.Kind == "" && p.Code != "":
			t.Kind = Kind(p.Code)
		case p.Name == "value" && p.Code == "" && value == "" && p.String != "":
			value = p.String
		default:
			return Token{}, errors.New("a token has one part kind with a valueCode and one part value with a valueString")
		}
	}
	if kindOf[t.Kind] == nil {
		return Token{}, errors.New("a token of no kind of this version")
	}
	b, err := hex.DecodeString(value)
	if err != nil || len(b) != TokenSize || hex.EncodeToString(b) != value {
		return Token{}, fmt.Errorf("a token's value is not %d hexadecimal digits in lower case", 2*TokenSize)
	}
	copy(t.Value[:], b)
	return t, nil
}

var knownMembers = set([]string{"resourceType", "parameter", "name", "valueCode", "valueString", "part"})

// onlyKnown refuses what package json takes without a word: unknown members, in
// another case too, a member twice, null, and text behind the resource.
func onlyKnown(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	if err := walk(d, 0); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errNotParameters
	}
	return nil
}

const maxDepth = 6

func walk(d *json.Decoder, depth int) error {
	if depth > maxDepth {
		return errNotParameters
	}
	first, err := d.Token()
	if err != nil || first == nil {
		return errNotParameters
	}
	open, ok := first.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			key, ok := name.(string)
			if err != nil || !ok || !knownMembers[key] || seen[key] {
				return errNotParameters
			}
			seen[key] = true
		}
		if err := walk(d, depth+1); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return errNotParameters
	}
	return nil
}
