package api_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/tributary-health/tributary/api"
	"github.com/tributary-health/tributary/fhir"
)

// hasStore has the resources of testdata/queries/has.txtar.
func hasStore(t *testing.T) *fakeStore {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/queries/has.txtar")
	if err != nil {
		t.Fatal(err)
	}
	return storeOf(t, string(archive.Files[0].Data))
}

// scanned notes what a search looks through: whose records of which type, "*" for
// all there is.
type scanned struct {
	*fakeStore
	looks []string
}

func (s *scanned) At(number uint64) (api.View, error) {
	v, err := s.fakeStore.At(number)
	return scannedView{v, s}, err
}

type scannedView struct {
	api.View
	s *scanned
}

func (v scannedView) Scan(typ, member string, all bool, afterMember, afterID string, fn func(fhir.Version) bool) error {
	if all {
		member = "*"
	}
	if look := typ + ":" + member; !slices.Contains(v.s.looks, look) {
		v.s.looks = append(v.s.looks, look)
	}
	return v.View.Scan(typ, member, all, afterMember, afterID, fn)
}

// TestReverseLooksWhereItIsNamed wants a _has never to look through all there is
// of what refers, and only at the records that the search names.
func TestReverseLooksWhereItIsNamed(t *testing.T) {
	store := &scanned{fakeStore: hasStore(t)}
	handler := api.New(testConfig(store))
	for query, want := range map[string]string{
		"Patient?_id=p1&_has:Observation:patient:code=4548-4":                                        "Observation:p1",
		"Patient?_id=p1&_has:Observation:patient:code=none&_has:Encounter:patient:status=finished":   "Observation:p1",
		"Patient?_id=p1&_has:Encounter:patient:status=finished&_has:Observation:patient:code=4548-4": "Encounter:p1 Observation:p1",
		"Patient?identifier=M2&_has:Observation:patient:code=4548-4":                                 "Observation:p2",
		"Encounter?patient=p1&_has:Observation:encounter:code=4548-4":                                "Encounter:p1 Observation:p1",
		"Encounter?patient.identifier=M1&_has:Observation:encounter:code=4548-4":                     "Encounter:p1 Observation:p1",
		"Encounter?_has:Observation:encounter:patient=p1":                                            "Encounter:p1 Observation:p1",
		"Patient?_has:Observation:patient:identifier=L3":                                             "Observation:p2",
		"Patient?_has:Observation:patient:_id=obs3":                                                  "Observation:p2",
		"Patient?_has:Observation:patient:code=4548-4&_count=1":                                      "Patient:* Observation:p1 Observation:p2",
		"Practitioner?_has:Encounter:practitioner:patient=p1":                                        "Encounter:p1",
		"Practitioner?_has:Encounter:practitioner:identifier=V2":                                     "",
		"Practitioner?_id=dr1&_has:PractitionerRole:practitioner:active=true":                        "",
		"Practitioner?_has:Encounter:practitioner:status=finished":                                   "",
		"Observation?patient=p1&code:text=x":                                                         "Observation:p1",
		"Condition?patient=p1&encounter.status=finished":                                             "Condition:p1",
		"Observation?encounter.status=finished&patient.gender=female&patient.identifier=M1":          "Observation:p1",
		"Observation?_id=obs1&encounter.status=finished":                                             "",
		"Patient?identifier=M2&general-practitioner.active:missing=true":                             "",
		"Patient?name=mu&general-practitioner.name=uribe":                                            "",
		"Encounter?_has:Observation:encounter:patient=p1&practitioner.gender:missing=true":           "Encounter:p1 Observation:p1",
		"Observation?code:text=x":                                                                    "",
		"Patient?_has:Coverage:subscriber:status=active":                                             "",
	} {
		store.looks = nil
		answerTo(t, handler, query)
		if got := strings.Join(store.looks, " "); got != want {
			t.Errorf("%s looks at %q, want %q", query, got, want)
		}
	}
}

// TestReverseOfHiddenTypes wants a _has, and a chain, over what the client may not
// see to find nothing, even in a store that has it, and not to look for it.
func TestReverseOfHiddenTypes(t *testing.T) {
	store := &scanned{fakeStore: hasStore(t)}
	c := testConfig(store)
	c.Clients = restricted(t)
	handler := api.New(c)
	store.write(1, "p1", fhir.ResourceID{Type: "Task", ID: "t1"},
		[]byte(`{"resourceType":"Task","id":"t1","meta":{},"status":"requested","for":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/enc1"}}`), time.Unix(1e9, 0))
	for query, want := range map[string]string{
		"Patient?_id=p1&_has:Task:patient:status=requested":          "1: p1",
		"Patient?_id=p1&_has:Observation:patient:code=4548-4":        "0:",
		"Patient?_has:Observation:patient:identifier=L1":             "0:",
		"Patient?_has:Observation:patient:code:missing=true":         "0:",
		"Patient?general-practitioner.name=uribe":                    "0:",
		"Task?patient=p1&encounter.status=finished":                  "0:",
		"Task?patient.identifier=M1&encounter.status:not=in-use":     "0:",
		"Patient?_has:Observation:patient:code=4548-4&_elements=id":  "0:",
		"Patient?_has:Task:patient:status=requested&gender=female":   "-: p1",
		"Patient?_has:Task:patient:encounter=enc1&_id=p1":            "1: p1",
		"Patient?_has:Coverage:subscriber:patient=p1&_summary=count": "0:",
	} {
		store.looks = nil
		if got := answerTo(t, handler, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
		for _, look := range store.looks {
			if !strings.HasPrefix(look, "Task:") && !strings.HasPrefix(look, "Patient:") {
				t.Errorf("%s looks at %s", query, look)
			}
		}
	}
}

// TestReverseOfOtherTypes asks for types that only a mapping knows: whose resources
// are in records, or in none.
func TestReverseOfOtherTypes(t *testing.T) {
	store := hasStore(t)
	put := func(member, typ, id, rest string) {
		store.write(1, member, fhir.ResourceID{Type: typ, ID: id}, []byte(fmt.Sprintf(`{"resourceType":%q,"id":%q,"meta":{},%s}`, typ, id, rest)), time.Unix(1e9, 0))
	}
	put("", "Medication", "med1", `"code":{"coding":[{"code":"314076"}]}`)
	put("p1", "Medication", "med2", `"code":{"coding":[{"code":"314076"}]},"subject":{"reference":"Patient/p1"}`)
	put("p1", "MedicationRequest", "req1", `"status":"active","subject":{"reference":"Patient/p1"},"medicationReference":{"reference":"Medication/med1"}`)
	put("p2", "MedicationRequest", "req2", `"status":"active","subject":{"reference":"Patient/p2"},"medicationReference":{"reference":"Medication/med2"}`)
	put("p2", "CarePlan", "plan1", `"status":"active","subject":{"reference":"Patient/p2"}`)
	c := testConfig(store)
	c.Types = append(slices.Clone(fhir.SearchTypes()), "Medication", "CarePlan")
	handler := api.New(c)
	for query, want := range map[string]string{
		"Medication?_has:MedicationRequest:medication:patient=p1":           "1: med1",
		"Medication?_has:MedicationRequest:medication:patient=p2":           "1: med2",
		"Medication?_has:MedicationRequest:medication:_id=req1,req2&code=1": "0:",
		"Medication?_has:MedicationRequest:medication:status=active":        `400 not-supported: parameter "_has:MedicationRequest:medication:status": MedicationRequest resources of all members may refer to one Medication: ask for those of a patient, an _id or an identifier, or search MedicationRequest instead`,
		"MedicationRequest?patient=p1&medication.code=314076":               "1: req1",
		"MedicationRequest?medication.code=314076":                          "-: req1 req2",
		"Patient?_has:CarePlan:patient:status=active":                       "-: p2",
		"Patient?_has:CarePlan:patient:status=active&_id=p1":                "0:",
		"CarePlan?patient=p2&status:text=x":                                 `400 invalid: parameter "status:text": modifier is not supported`,
		"Medication?_id=med1&code:text=x":                                   "0:",
	} {
		if got := answerTo(t, handler, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// TestReverseIsRecorded wants the members on the record of whom an answer tells
// without showing anything of their records.
func TestReverseIsRecorded(t *testing.T) {
	c, log := recorded(hasStore(t))
	handler := api.New(c)
	for query, want := range map[string]string{
		"Practitioner?_has:Encounter:practitioner:patient=p1":           " p1",
		"Practitioner?_has:Encounter:practitioner:patient=p3":           "p3",
		"Practitioner?_has:Encounter:practitioner:identifier=V2":        " p1",
		"Practitioner?_has:Patient:general-practitioner:_id=p1":         " p1",
		"Patient?_has:Coverage:subscriber:_id=cov1":                     "p1 p2",
		"Patient?_id=p3&_has:Observation:patient:code=4548-4":           "p3",
		"Encounter?_has:Observation:encounter:patient=p2":               "p2",
		"Condition?encounter.patient=p2":                                "p2",
		"Encounter?patient._id=p3&status=finished":                      "p3",
		"Patient?_has:Observation:patient:_id=obs1,obs3&_summary=count": "p1 p2",
		"Observation?patient=p2&code:text=x":                            "p2",
	} {
		if w := serveOne(handler, askRecorded(t, "GET /fhir/"+query)); w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		var subjects []string
		for _, s := range log.take()[0].Subjects {
			subjects = append(subjects, s.Patient)
		}
		slices.Sort(subjects)
		if got := strings.Join(subjects, " "); got != want {
			t.Errorf("%s tells of %q, want %q", query, got, want)
		}
	}
}

// TestReverseLimits holds the limits from both sides.
func TestReverseLimits(t *testing.T) {
	store := newFakeStore()
	put := func(member, typ, id, rest string) {
		store.write(1, member, fhir.ResourceID{Type: typ, ID: id}, []byte(fmt.Sprintf(`{"resourceType":%q,"id":%q,"meta":{},%s}`, typ, id, rest)), time.Unix(1e9, 0))
	}
	put("p1", "Patient", "p1", `"gender":"male"`)
	put("p2", "Patient", "p2", `"gender":"male"`)
	for i := range 1001 {
		put("", "Practitioner", fmt.Sprint("dr", i), `"active":true`)
		put("", "PractitionerRole", fmt.Sprint("role", i), fmt.Sprintf(`"active":%t,"practitioner":{"reference":"Practitioner/dr%d"}`, i > 0, i))
		put("p1", "Encounter", fmt.Sprint("enc", i), fmt.Sprintf(`"subject":{"reference":"Patient/p1"},"participant":[{"individual":{"reference":"Practitioner/dr%d"}}]`, i%7))
		put("p1", "Encounter", fmt.Sprint("visit", i), fmt.Sprintf(`"subject":{"reference":"Patient/p1"},"identifier":[{"value":"same"}],"participant":[{"individual":{"reference":"Practitioner/dr%d"}}]`, 3+i%7))
		put("p2", "Encounter", fmt.Sprint("other", i), fmt.Sprintf(`"subject":{"reference":"Patient/p2"},"participant":[{"individual":{"reference":"Practitioner/dr%d"}}]`, i))
	}
	handler := api.New(testConfig(store))
	for query, want := range map[string]string{
		"Practitioner?_has:PractitionerRole:practitioner:active=true&_summary=count":               "1000:",
		"Practitioner?_has:PractitionerRole:practitioner:active=true,false":                        `400 too-costly: parameter "_has:PractitionerRole:practitioner:active": leads over more than 1000 resources`,
		"Practitioner?_has:PractitionerRole:practitioner:active=true,false&_id=dr7":                "1: dr7",
		"Practitioner?_has:Encounter:practitioner:patient=p1":                                      "10: dr0 dr1 dr2 dr3 dr4 dr5 dr6 dr7 dr8 dr9",
		"Practitioner?_has:Encounter:practitioner:identifier=same":                                 `400 too-costly: parameter "_has:Encounter:practitioner:identifier": leads over more than 1000 resources`,
		"Practitioner?_has:Encounter:practitioner:patient=p2":                                      `400 too-costly: parameter "_has:Encounter:practitioner:patient": leads to more than 1000 resources`,
		"Practitioner?_has:Encounter:practitioner:patient=p2&_id=dr1000":                           "1: dr1000",
		"Encounter?practitioner.active=true&patient=p1&_summary=count":                             "2002:",
		"PractitionerRole?practitioner=dr5&practitioner.active=true":                               "-: role5",
		"Encounter?practitioner.active=true&practitioner.gender:missing=true":                      `400 too-costly: parameter "practitioner.active": leads over more than 1000 resources`,
		"Patient?_has:Encounter:patient:status:missing=true":                                       "-: p1 p2",
		"Patient?_has:Encounter:patient:practitioner=dr999,dr1000&_has:Encounter:patient:_id=enc3": "0:",
	} {
		if got := answerTo(t, handler, query); got != want {
			t.Errorf("%s: %.200s, want %s", query, got, want)
		}
	}
}

// TestBodiesAreBounded wants a search that reads resources to end where it would
// read too many.
func TestBodiesAreBounded(t *testing.T) {
	store := newFakeStore()
	body := []byte(`{"resourceType":"Observation","id":"x","meta":{},"subject":{"reference":"Patient/p1"},"code":{"text":"abc"}}`)
	for i := range 20_001 {
		store.write(1, "p1", fhir.ResourceID{Type: "Observation", ID: fmt.Sprint("o", i)}, body, time.Unix(int64(i), 0))
	}
	handler := api.New(testConfig(store))
	for query, want := range map[string]string{
		"Observation?patient=p1&code:text=ab&_summary=count":                                        `400 too-costly: parameter "code:text": would read more than 20000 resources: ask for less`,
		"Observation?patient=p1&code:text=ab&_summary=count&_lastUpdated=gt1970-01-01T00:00:00Z":    "20000:",
		"Observation?patient=p1&code:text=ab&_total=none&_count=2":                                  "-: x x ...",
		"Observation?patient=p1&code:text=b&_summary=count&_lastUpdated=1970-01-01T00:00:00Z&_id=x": "0:",
	} {
		if got := answerTo(t, handler, query); got != want {
			t.Errorf("%s: %.200s, want %s", query, got, want)
		}
	}
}

// TestReverseAgainstOracle holds random searches with chains and with _has, in
// every way that they are answered, against what R4 says of them, evaluated on
// parsed resources.
func TestReverseAgainstOracle(t *testing.T) {
	for _, seed := range []uint64{3, uint64(time.Now().UnixNano())} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := maker{rand.New(rand.NewPCG(seed, 2))}
			w := newReverseWorld(t, m)
			told := 0
			for range 400 {
				query, want := w.question(m)
				got := follow(t, w.handler, "/fhir/"+query, len(want))
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("%s\nfinds %v\nwant  %v", query, got, want)
				}
				if len(want) > 0 {
					told++
				}
			}
			if told < 40 {
				t.Errorf("only %d searches find something", told)
			}
		})
	}
}

// reverseWorld is some members' Encounters and Observations, the Practitioners they
// refer to, and the roles of those.
type reverseWorld struct {
	handler http.Handler
	o       *oracle
	all     []object
	member  map[string]string // by id
}

func newReverseWorld(t *testing.T, m maker) *reverseWorld {
	w := &reverseWorld{o: newOracle(t), member: map[string]string{}}
	store := newFakeStore()
	pick := func(from string, n int) string { return fmt.Sprint(from, m.IntN(n)) }
	ref := func(typ, id string) object { return object{"reference": typ + "/" + id} }
	put := func(member string, r object) {
		typ, id := r["resourceType"].(string), r["id"].(string)
		r["meta"] = object{}
		body, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		store.write(1, member, fhir.ResourceID{Type: typ, ID: id}, body, time.Unix(1e9, 0))
		w.all = append(w.all, parseObject(t, body))
		w.member[id] = member
	}
	for i := range 4 {
		put("", object{"resourceType": "Practitioner", "id": fmt.Sprint("dr", i), "gender": []string{"male", "female"}[i%2]})
		put("", object{"resourceType": "PractitionerRole", "id": fmt.Sprint("role", i), "active": m.IntN(2) == 0, "practitioner": ref("Practitioner", pick("dr", 4))})
		member := fmt.Sprint("p", i)
		put(member, object{"resourceType": "Patient", "id": member, "gender": []string{"male", "female"}[m.IntN(2)], "identifier": []any{object{"value": pick("M", 3)}}})
		for j := range 3 {
			put(member, object{"resourceType": "Encounter", "id": fmt.Sprintf("e%d%d", i, j), "status": []string{"finished", "planned"}[m.IntN(2)],
				"subject": ref("Patient", member), "identifier": []any{object{"value": pick("V", 6)}}, "participant": []any{object{"individual": ref("Practitioner", pick("dr", 4))}}})
			put(member, object{"resourceType": "Observation", "id": fmt.Sprintf("o%d%d", i, j), "status": []string{"final", "preliminary"}[m.IntN(2)],
				"subject": ref("Patient", member), "encounter": ref("Encounter", fmt.Sprintf("e%d%d", m.IntN(4), m.IntN(3))), "identifier": []any{object{"value": pick("L", 8)}}})
		}
	}
	w.handler = api.New(testConfig(store))
	return w
}

// reverseKinds are the forms of _has to ask: the type, what refers to it, by what,
// and the conditions on that. %d is a number below 4.
var reverseKinds = []struct {
	typ, source, name string
	conditions        []string
}{
	{"Patient", "Observation", "patient", []string{"status=final", "status:not=final", "identifier=L%d", "_id=o%d1", "encounter=e%d0", "encounter:missing=true"}},
	{"Patient", "Encounter", "subject", []string{"status=planned", "identifier=V%d", "practitioner=dr%d", "patient=p%d"}},
	{"Encounter", "Observation", "encounter", []string{"status=final", "identifier=L%d", "patient=p%d", "_id=o%d1,o%d2"}},
	{"Practitioner", "Encounter", "practitioner", []string{"patient=p%d", "identifier=V%d", "_id=e%d1", "patient=p%d,p1"}},
	{"Practitioner", "PractitionerRole", "practitioner", []string{"active=true", "active:not=true", "_id=role%d", "practitioner=dr%d"}},
}

// plainConditions are what else a search may ask.
var plainConditions = map[string][]string{
	"Patient": {"gender=male", "_id=p%d,p1", "identifier=M%d"}, "Encounter": {"status=finished", "patient=p%d", "_id=e%d1,e01", "identifier=V%d"},
	"Practitioner": {"gender=female", "_id=dr%d,dr1"}, "Observation": {"status=final", "patient=p%d,p1", "_id=o%d1,o01", "identifier=L%d"},
}

// chainKinds are the forms of chains: the type, the reference, what it points at,
// and the conditions on that.
var chainKinds = []struct {
	typ, name, target string
	conditions        []string
}{
	{"Observation", "patient", "Patient", []string{"gender=male", "gender:not=male", "identifier=M%d", "_id=p%d"}},
	{"Observation", "encounter", "Encounter", []string{"status=finished", "identifier=V%d", "patient=p%d", "_id=e%d1,e%d2"}},
	{"Encounter", "practitioner", "Practitioner", []string{"gender=male", "_id=dr%d"}},
	{"Encounter", "patient", "Patient", []string{"identifier=M%d", "gender:missing=true"}},
}

func (w *reverseWorld) question(m maker) (query string, want []string) {
	fill := func(s string) string { return strings.ReplaceAll(s, "%d", fmt.Sprint(m.IntN(4))) }
	var asked []string
	var holds []func(object) bool
	typ := ""
	for range 1 + m.IntN(2)*m.IntN(3) {
		chained, back := chainKinds[m.IntN(len(chainKinds))], reverseKinds[m.IntN(len(reverseKinds))]
		switch {
		case m.IntN(2) == 0 && (typ == "" || typ == chained.typ):
			typ = chained.typ
			condition := fill(chained.conditions[m.IntN(len(chained.conditions))])
			asked = append(asked, chained.name+"."+condition)
			holds = append(holds, func(r object) bool {
				return w.some(chained.target, condition, func(to object) bool { return w.plain(r, chained.name+"="+chained.target+"/"+to["id"].(string)) })
			})
		case typ == "" || typ == back.typ:
			typ = back.typ
			condition := fill(back.conditions[m.IntN(len(back.conditions))])
			asked = append(asked, "_has:"+back.source+":"+back.name+":"+condition)
			holds = append(holds, func(r object) bool {
				id := r["id"].(string)
				return w.some(back.source, condition, func(from object) bool {
					return w.plain(from, back.name+"="+back.typ+"/"+id) && (w.member[id] == "" || w.member[id] == w.member[from["id"].(string)])
				})
			})
		}
	}
	for range m.IntN(2) * m.IntN(3) {
		condition := fill(plainConditions[typ][m.IntN(len(plainConditions[typ]))])
		asked = append(asked, condition)
		holds = append(holds, func(r object) bool { return w.plain(r, condition) })
	}
	for _, r := range w.all {
		if r["resourceType"] == typ && !slices.ContainsFunc(holds, func(h func(object) bool) bool { return !h(r) }) {
			want = append(want, r["id"].(string))
		}
	}
	m.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
	asked = append(asked, "_total=accurate", []string{"_count=1", "_count=50", "_sort=-_id&_count=2"}[m.IntN(3)])
	return typ + "?" + strings.Join(asked, "&"), want
}

// some reports whether a resource of the type satisfies the condition, and also.
func (w *reverseWorld) some(typ, condition string, also func(object) bool) bool {
	return slices.ContainsFunc(w.all, func(r object) bool { return r["resourceType"] == typ && w.plain(r, condition) && also(r) })
}

// plain evaluates one parameter as the oracle does.
func (w *reverseWorld) plain(r object, condition string) bool {
	name, values, _ := strings.Cut(condition, "=")
	name, modifier, _ := strings.Cut(name, ":")
	if name == "_id" {
		return slices.Contains(strings.Split(values, ","), r["id"].(string))
	}
	param := fhir.FindParam(r["resourceType"].(string), name)
	return w.o.matches(r, clause{*param, modifier, strings.Split(values, ",")})
}
