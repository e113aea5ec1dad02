package audit

import (
	"encoding/json"
	"fmt"
	"strings"
)

// kind is what FHIR's audit codes say of an Event.Kind.
type kind struct {
	word    string
	subtype coding
	action  string // R read, E execute
	asks    bool   // the request has parameters: the client is the source of them
	profile string // of IHE BALP, for what succeeded
}

const (
	restful   = "http://hl7.org/fhir/restful-interaction"
	lifecycle = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
	dicom     = "http://dicom.nema.org/resources/ontology/DCM"
	term      = "http://terminology.hl7.org/CodeSystem/"
	balp      = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
)

var kinds = []kind{
	{"read", coding{restful, "read", "read"}, "R", false, "Read"},
	{"vread", coding{restful, "vread", "vread"}, "R", false, "Read"},
	{"search", coding{restful, "search-type", "search-type"}, "E", true, "Query"},
	{"history", coding{restful, "history-instance", "history-instance"}, "R", true, ""},
	{"everything", coding{restful, "operation", "operation"}, "E", true, ""},
	{"document", coding{restful, "operation", "operation"}, "E", true, ""},
	{"medication-profile", coding{restful, "operation", "operation"}, "E", true, ""},
	{Match, coding{restful, "operation", "operation"}, "E", true, ""},
	{Delivery, coding{lifecycle, "disclose", ""}, "R", false, ""},
}

func kindOf(word string) *kind {
	for i := range kinds {
		if kinds[i].word == word {
			return &kinds[i]
		}
	}
	return nil
}

// The parts of an R4 AuditEvent that are used.
type (
	coding struct {
		System  string `json:"system"`
		Code    string `json:"code"`
		Display string `json:"display,omitempty"`
	}
	concept struct {
		Coding []coding `json:"coding"`
	}
	identifier struct {
		Value string `json:"value"`
	}
	reference struct {
		Reference  string      `json:"reference,omitempty"`
		Identifier *identifier `json:"identifier,omitempty"`
		Display    string      `json:"display,omitempty"`
	}
	extension struct {
		URL   string `json:"url"`
		Value string `json:"valueCode"`
	}
	network struct {
		Extension []extension `json:"extension,omitempty"`
		Address   string      `json:"address,omitempty"`
		Type      string      `json:"type,omitempty"`
	}
	agent struct {
		Type      concept   `json:"type"`
		Who       reference `json:"who"`
		Requestor bool      `json:"requestor"`
		Policy    []string  `json:"policy,omitempty"`
		Network   network   `json:"network"`
	}
	entity struct {
		What        *reference `json:"what,omitempty"`
		Type        coding     `json:"type"`
		Role        coding     `json:"role"`
		Description string     `json:"description,omitempty"`
		Query       []byte     `json:"query,omitempty"` // base64
	}
	period struct {
		Start string `json:"start"`
		End   string `json:"end"`
	}
	meta struct {
		Profile []string `json:"profile"`
	}
	source struct {
		Observer reference `json:"observer"`
		Type     []coding  `json:"type"`
	}
	auditEvent struct {
		ResourceType string   `json:"resourceType"`
		ID           string   `json:"id"`
		Meta         *meta    `json:"meta,omitempty"`
		Type         coding   `json:"type"`
		Subtype      []coding `json:"subtype"`
		Action       string   `json:"action"`
		Period       *period  `json:"period,omitempty"`
		Recorded     string   `json:"recorded"`
		Outcome      string   `json:"outcome"`
		OutcomeDesc  string   `json:"outcomeDesc,omitempty"`
		Agent        []agent  `json:"agent"`
		Source       source   `json:"source"`
		Entity       []entity `json:"entity,omitempty"`
	}
)

// Observer is the server as an AuditEvent names it.
type Observer struct {
	Name    string // what it is called
	Address string // its base address; may be empty
}

// Resources makes FHIR R4 AuditEvents of the entry, after IHE BALP: one for each
// patient, as its profiles ask, one for what all members share, and one for an
// event that is about nobody. Their ids are the entry's number and a count.
func (e Entry) Resources(o Observer) ([][]byte, error) {
	subjects := e.Subjects
	if len(subjects) == 0 {
		subjects = []Subject{{}}
	}
	all := make([][]byte, len(subjects))
	for i, s := range subjects {
		r := e.resource(o, s)
		r.ID = fmt.Sprintf("%d-%d", e.Number, i+1)
		b, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		all[i] = b
	}
	return all, nil
}

func (e Entry) resource(o Observer, s Subject) auditEvent {
	k := kindOf(e.Kind)
	r := auditEvent{
		ResourceType: "AuditEvent", Type: coding{term + "audit-event-type", "rest", "Restful Operation"},
		Subtype: []coding{k.subtype}, Action: k.action, Recorded: e.Time.UTC().Format(timeLayout),
		Outcome: "0", OutcomeDesc: e.Reason, Agent: e.agents(o, k), Entity: e.entities(k, s),
		Source: source{reference{Display: o.Name}, []coding{{term + "security-source-type", "4", "Application Server"}}},
	}
	switch {
	case e.Kind == Delivery:
		r.Type = coding{dicom, "110106", "Export"}
	case e.Kind == "search" && strings.HasPrefix(e.Request, "GET [type]"):
		r.Subtype[0].Code, r.Subtype[0].Display = "search-system", "search-system"
	}
	switch e.Outcome {
	case Refused:
		r.Outcome = "4"
	case Failed:
		r.Outcome = "8"
	}
	if e.Count > 0 {
		r.Period = &period{e.First.UTC().Format(timeLayout), r.Recorded}
		r.OutcomeDesc = strings.TrimPrefix(fmt.Sprintf("%s, %d times", e.Reason, e.Count), ", ")
	}
	whole := k.profile != "Read" || len(s.Resources) == 1 // BALP: one resource for each read
	if k.profile != "" && e.Outcome == OK && whole && !(k.asks && e.Request == "") {
		patient := ""
		if s.Patient != "" {
			patient = "Patient"
		}
		r.Meta = &meta{[]string{balp + patient + k.profile}}
	}
	return r
}

// agents are the client and the server. Which is called the source follows BALP:
// of a query the client, of data the server. The record has no network
// addresses of clients.
func (e Entry) agents(o Observer, k *kind) []agent {
	from := concept{[]coding{{dicom, "110153", "Source Role ID"}}}
	to := concept{[]coding{{dicom, "110152", "Destination Role ID"}}}
	unknown := network{Extension: []extension{{"http://hl7.org/fhir/StructureDefinition/data-absent-reason", "unknown"}}}
	client := agent{Type: to, Who: reference{Identifier: &identifier{e.Client}}, Requestor: e.Kind != Delivery, Network: unknown}
	if e.Client == "" {
		client.Who = reference{Display: "unknown client"}
	}
	server := agent{Type: from, Who: reference{Display: o.Name}, Requestor: e.Kind == Delivery, Network: unknown}
	if o.Address != "" {
		server.Network = network{Address: o.Address, Type: "5"}
	}
	if k.asks {
		client.Type, server.Type = from, to
	}
	if e.Policy != "" {
		client.Policy = []string{"urn:tributary:policy:" + e.Policy}
	}
	return []agent{client, server}
}

// entities are the patient, the versions shown, and the request without values.
func (e Entry) entities(k *kind, s Subject) []entity {
	object := coding{term + "audit-entity-type", "2", "System Object"}
	var all []entity
	if s.Patient != "" {
		all = append(all, entity{What: &reference{Reference: "Patient/" + s.Patient},
			Type: coding{term + "audit-entity-type", "1", "Person"}, Role: coding{term + "object-role", "1", "Patient"}})
	}
	if k.asks {
		all = append(all, entity{Type: object, Role: coding{term + "object-role", "24", "Query"},
			Description: e.Request, Query: []byte(e.Request)})
	}
	for _, r := range s.Resources {
		all = append(all, entity{What: &reference{Reference: r}, Type: object, Role: coding{term + "object-role", "4", "Domain Resource"}})
	}
	return all
}
