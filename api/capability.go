package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/tributary-health/tributary/fhir"
)

// profileOperation is the id of the OperationDefinition of $medication-profile.
const profileOperation = "medication-profile"

// The parts of a CapabilityStatement that we state.
type (
	capabilityStatement struct {
		ResourceType   string         `json:"resourceType"`
		Status         string         `json:"status"`
		Date           string         `json:"date"`
		Kind           string         `json:"kind"`
		Software       software       `json:"software"`
		Implementation implementation `json:"implementation"`
		FHIRVersion    string         `json:"fhirVersion"`
		Format         []string       `json:"format"`
		Rest           []rest         `json:"rest"`
	}
	software struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	implementation struct {
		Description string `json:"description"`
		URL         string `json:"url"`
	}
	rest struct {
		Mode     string         `json:"mode"`
		Security security       `json:"security"`
		Resource []restResource `json:"resource"`
	}
	security struct {
		Description string `json:"description"`
	}
	restResource struct {
		Type             string        `json:"type"`
		Interaction      []coded       `json:"interaction"`
		Versioning       string        `json:"versioning"`
		ReadHistory      bool          `json:"readHistory"`
		SearchInclude    []string      `json:"searchInclude,omitempty"`
		SearchRevInclude []string      `json:"searchRevInclude,omitempty"`
		SearchParam      []searchParam `json:"searchParam"`
		Operation        []operation   `json:"operation,omitempty"`
	}
	coded struct {
		Code string `json:"code"`
	}
	searchParam struct {
		Name          string `json:"name"`
		Definition    string `json:"definition,omitempty"`
		Type          string `json:"type"`
		Documentation string `json:"documentation,omitempty"`
	}
	operation struct {
		Name       string `json:"name"`
		Definition string `json:"definition"`
	}
)

func (s *server) capabilities(r *request) (answer, error) {
	statement := capabilityStatement{
		ResourceType:   "CapabilityStatement",
		Status:         "active",
		Date:           s.started.Format("2006-01-02T15:04:05Z"),
		Kind:           "instance",
		Software:       software{s.Name, s.Version},
		Implementation: implementation{"Members' records as of each source's position, which every answer states", r.base()},
		FHIRVersion:    "4.0.1",
		Format:         []string{"application/fhir+json", "json"},
		Rest:           []rest{{Mode: "server", Security: security{"Every request but this one carries Authorization: Bearer and the client's key"}}},
	}
	for _, t := range s.Types {
		statement.Rest[0].Resource = append(statement.Rest[0].Resource, s.restOf(t, r.base()))
	}
	return jsonAnswer(statement)
}

// restOf states what a type's search takes, from the table that it is done by.
func (s *server) restOf(typ, base string) restResource {
	t := restResource{
		Type:        typ,
		Interaction: []coded{{"read"}, {"vread"}, {"history-instance"}, {"search-type"}},
		Versioning:  "versioned",
		ReadHistory: true,
		SearchParam: []searchParam{{Name: "_id", Definition: fhir.IDDefinition(typ), Type: "token"}, {Name: "_lastUpdated", Type: "date"}},
	}
	for _, p := range fhir.SearchParams(typ) {
		t.SearchParam = append(t.SearchParam, searchParam{p.Name, p.Definition, string(p.Kind), p.Note})
		if p.Kind == fhir.ReferenceParam {
			t.SearchInclude = append(t.SearchInclude, typ+":"+p.Name)
		}
	}
	if len(t.SearchInclude) > 0 {
		t.SearchInclude = append(t.SearchInclude, typ+":*")
	}
	for _, source := range s.Types {
		for _, p := range fhir.SearchParams(source) {
			rule := includeRule{source: source}
			if p.Kind == fhir.ReferenceParam && slices.Contains(p.Targets, typ) && rule.reachable(typ) == nil {
				t.SearchRevInclude = append(t.SearchRevInclude, source+":"+p.Name)
			}
		}
	}
	switch typ {
	case "Composition":
		t.Operation = []operation{{"document", "http://hl7.org/fhir/OperationDefinition/Composition-document"}}
	case "Patient":
		t.Operation = []operation{
			{"everything", "http://hl7.org/fhir/OperationDefinition/Patient-everything"},
			{profileOperation, base + "/OperationDefinition/" + profileOperation},
		}
		if s.Match != nil {
			t.Operation = append(t.Operation, operation{matchID, base + "/OperationDefinition/" + matchID})
		}
	}
	return t
}

// operationDefinition says what $medication-profile is.
func (s *server) operationDefinition(r *request) (answer, error) {
	return jsonAnswer(map[string]any{
		"resourceType": "OperationDefinition",
		"id":           profileOperation,
		"url":          r.base() + "/OperationDefinition/" + profileOperation,
		"name":         "MedicationProfile",
		"title":        "The member's medication profile as a document",
		"status":       "active",
		"kind":         "operation",
		"affectsState": false,
		"description":  "The document Bundle of the Patient's newest Composition of type LOINC 56445-0, read at one commit number.",
		"code":         profileOperation,
		"resource":     []string{"Patient"},
		"system":       false,
		"type":         false,
		"instance":     true,
		"parameter": []map[string]any{
			{"name": "return", "use": "out", "min": 1, "max": "1", "type": "Bundle"},
		},
	})
}

// jsonAnswer shows nothing of a member.
func jsonAnswer(v any) (answer, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return answer{}, fmt.Errorf("api: encode %T: %w", v, err)
	}
	return answer{status: http.StatusOK, body: body}, nil
}
