package hashmatch_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/tributary-health/tributary/hashmatch"
)

var rewrite = flag.Bool("rewrite", false, "write the golden vectors again from what the code does")

// vectorFile is for every implementer, in any language: fields one by one, then
// whole persons down to their tokens and the request.
const vectorFile = "testdata/vectors.json"

type vectors struct {
	Version string                 `json:"version"`
	Key     string                 `json:"key"`
	Epoch   hashmatch.Epoch        `json:"epoch"`
	Client  string                 `json:"client"`
	Fields  map[string][][2]string `json:"fields"`
	Persons []vectorPerson         `json:"persons"`
}

type vectorPerson struct {
	Name         string           `json:"name"`
	Demographics vectorGiven      `json:"demographics"`
	Normal       hashmatch.Person `json:"normal"`
	Tokens       []vectorToken    `json:"tokens"`
	Request      json.RawMessage  `json:"request,omitempty"`
}

type vectorGiven struct {
	Names     []vectorName    `json:"names,omitempty"`
	BirthDate string          `json:"birthDate,omitempty"`
	Sex       string          `json:"sex,omitempty"`
	Addresses []vectorAddress `json:"addresses,omitempty"`
	Phones    []string        `json:"phones,omitempty"`
	MemberIDs []string        `json:"memberIds,omitempty"`
	SSN       string          `json:"ssn,omitempty"`
}

type vectorName struct {
	Family string   `json:"family"`
	Given  []string `json:"given"`
}

type vectorAddress struct {
	Line string `json:"line"`
	ZIP  string `json:"zip"`
}

type vectorToken struct {
	Kind  hashmatch.Kind `json:"kind"`
	Input string         `json:"input"` // all of what the HMAC is of
	Token string         `json:"token"`
	Index string         `json:"index"`
}

func (g vectorGiven) demographics() hashmatch.Demographics {
	d := hashmatch.Demographics{BirthDate: g.BirthDate, Sex: g.Sex, Phones: g.Phones, MemberIDs: g.MemberIDs, SSN: g.SSN}
	for _, n := range g.Names {
		d.Names = append(d.Names, hashmatch.Name{Family: n.Family, Given: n.Given})
	}
	for _, a := range g.Addresses {
		d.Addresses = append(d.Addresses, hashmatch.Address{Line: a.Line, ZIP: a.ZIP})
	}
	return d
}

var normalFields = map[string]func(string) string{
	"given": hashmatch.NormalGiven, "family": hashmatch.NormalFamily, "birthDate": hashmatch.NormalBirthDate,
	"sex": hashmatch.NormalSex, "line": hashmatch.NormalLine, "zip": hashmatch.NormalZIP, "phone": hashmatch.NormalPhone,
	"memberId": hashmatch.NormalMemberID, "ssn": hashmatch.NormalSSN4,
}

func readVectors(t testing.TB) (vectors, []byte) {
	t.Helper()
	text, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", vectorFile, err)
	}
	pairs := 0
	for field, all := range v.Fields {
		if normalFields[field] == nil {
			t.Fatalf("%s: there is no field %s", vectorFile, field)
		}
		pairs += len(all)
	}
	if len(v.Fields) != len(normalFields) || pairs < 190 || len(v.Persons) < 12 {
		t.Fatalf("%s: only %d fields, %d pairs, %d persons", vectorFile, len(v.Fields), pairs, len(v.Persons))
	}
	return v, text
}

// What another implementer must get, byte for byte. With -rewrite the file is
// made again from its inputs: the difference is what the change breaks.
func TestVectors(t *testing.T) {
	v, text := readVectors(t)
	secret, err := hashmatch.ParseKey([]byte(v.Key))
	if err != nil {
		t.Fatal(err)
	}
	key, err := secret.Derive(v.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	v.Version = hashmatch.Version
	for field, all := range v.Fields {
		for i := range all {
			all[i][1] = normalFields[field](all[i][0])
		}
	}
	for i := range v.Persons {
		v.Persons[i].compute(key, v.Client)
	}
	var got bytes.Buffer
	e := json.NewEncoder(&got)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile(vectorFile, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got.Bytes(), text) {
		a, b := bytes.Split(text, []byte("\n")), bytes.Split(got.Bytes(), []byte("\n"))
		for i := range a {
			if i >= len(b) || !bytes.Equal(a[i], b[i]) {
				t.Fatalf("%s:%d: want %s; another result is another Version", vectorFile, i+1, a[i])
			}
		}
		t.Fatalf("%s: %d lines more", vectorFile, len(b)-len(a))
	}
}

func (p *vectorPerson) compute(key hashmatch.EpochKey, client string) {
	d := p.Demographics.demographics()
	p.Normal = hashmatch.Normalize(d)
	in := p.Normal.Inputs()
	p.Tokens, p.Request = []vectorToken{}, nil
	for i, token := range key.Tokens(in) {
		index := hashmatch.IndexToken(client, key.Epoch(), token)
		p.Tokens = append(p.Tokens, vectorToken{in[i].Kind, hashmatch.Version + "|" + string(in[i].Kind) + "|" + in[i].Text,
			hex.EncodeToString(token.Value[:]), hex.EncodeToString(index[:])})
	}
	if r, err := key.Request(d); err == nil {
		p.Request = r.Encode()
	}
}
