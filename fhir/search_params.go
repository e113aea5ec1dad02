package fhir

import "slices"

// ParamKind is the type of a search parameter, in FHIR's word.
type ParamKind string

// The kinds.
const (
	TokenParam     ParamKind = "token"
	StringParam    ParamKind = "string"
	DateParam      ParamKind = "date"
	ReferenceParam ParamKind = "reference"
)

// SearchParam is one search parameter of one resource type. Paths lead to its
// elements; lists on the way are walked. Targets are the types a reference may
// point at. System is that of elements which are bare codes. Member says that
// the reference is to the Patient whose record the resource belongs to. Posted
// says that its values are findable across members (see Postings); PostedAs
// names another parameter whose postings include this one's values.
type SearchParam struct {
	Name     string
	Kind     ParamKind
	Paths    []string
	Targets  []string
	System   string
	Member   bool
	Posted   bool
	PostedAs string
}

// SearchTypes lists the resource types that have search parameters of their
// own, in alphabetical order. The caller MUST NOT modify it.
func SearchTypes() []string { return searchTypes }

// SearchParams lists the parameters of the type beside _id and _lastUpdated; nil
// for what is no resource type. The caller MUST NOT modify it.
func SearchParams(resourceType string) []SearchParam {
	if t := tableOf(resourceType); t != nil {
		return t.params
	}
	return nil
}

func byToken(name string, paths ...string) SearchParam {
	return SearchParam{Name: name, Kind: TokenParam, Paths: paths}
}

func byCode(name, system string, paths ...string) SearchParam {
	return SearchParam{Name: name, Kind: TokenParam, System: system, Paths: paths}
}

func byText(name string, paths ...string) SearchParam {
	return SearchParam{Name: name, Kind: StringParam, Paths: paths}
}

func byDate(name string, paths ...string) SearchParam {
	return SearchParam{Name: name, Kind: DateParam, Paths: paths}
}

func byReference(name, path string, targets ...string) SearchParam {
	return SearchParam{Name: name, Kind: ReferenceParam, Paths: []string{path}, Targets: targets}
}

func byMember(name, path string) SearchParam {
	p := byReference(name, path, "Patient")
	p.Member = true
	return p
}

func postedParam(p SearchParam) SearchParam {
	p.Posted = true
	return p
}

func alsoPosted(p SearchParam, other string) SearchParam {
	p.PostedAs = other
	return p
}

const fhirSystem = "http://hl7.org/fhir/"

var (
	identifierParam = postedParam(byToken("identifier", "identifier"))
	humanNameParams = []SearchParam{
		postedParam(byText("name", "name.family", "name.given", "name.prefix", "name.suffix", "name.text")),
		alsoPosted(byText("family", "name.family"), "name"),
		alsoPosted(byText("given", "name.given"), "name"),
	}
	addressParams = []SearchParam{
		byText("address", "address.line", "address.city", "address.district", "address.state", "address.postalCode", "address.country", "address.text"),
		byText("address-city", "address.city"),
		byText("address-state", "address.state"),
		byText("address-postalcode", "address.postalCode"),
	}
	genderParam = byCode("gender", fhirSystem+"administrative-gender", "gender")
	anyAuthor   = []string{"Practitioner", "PractitionerRole", "Device", "Patient", "RelatedPerson", "Organization"}
)

// anyParameters are those of a type that has none of its own here: what most
// types have under one name, so that a resource added by a mapping is found by
// member at once.
var anyParameters = []SearchParam{
	identifierParam,
	{Name: "patient", Kind: ReferenceParam, Paths: []string{"patient", "subject"}, Targets: []string{"Patient"}, Member: true},
	{Name: "subject", Kind: ReferenceParam, Paths: []string{"patient", "subject"}, Targets: []string{"Patient"}, Member: true},
	byToken("code", "code"), byToken("status", "status"), byToken("category", "category"), byToken("type", "type"),
}

// parameters is the one place where a resource type's search is declared. A
// parameter that R4 does not have (`date` of an order, `code` of a dispense) means
// the element that plays its part.
var parameters = map[string][]SearchParam{
	"Patient": slices.Concat(humanNameParams, addressParams, []SearchParam{
		identifierParam, genderParam,
		postedParam(byDate("birthdate", "birthDate")),
		byDate("death-date", "deceasedDateTime"),
		byToken("active", "active"),
		byReference("general-practitioner", "generalPractitioner", "Organization", "Practitioner", "PractitionerRole"),
		byReference("organization", "managingOrganization", "Organization"),
	}),
	"Practitioner": slices.Concat(humanNameParams, addressParams, []SearchParam{
		identifierParam, genderParam,
		byToken("active", "active"),
	}),
	"Organization": slices.Concat(addressParams, []SearchParam{
		identifierParam,
		postedParam(byText("name", "name", "alias")),
		byToken("active", "active"),
		byToken("type", "type"),
		byReference("partof", "partOf", "Organization"),
	}),
	"Coverage": {
		identifierParam,
		byMember("patient", "beneficiary"), byMember("subject", "beneficiary"), byMember("beneficiary", "beneficiary"),
		byReference("subscriber", "subscriber", "Patient", "RelatedPerson"),
		byReference("policy-holder", "policyHolder", "Patient", "RelatedPerson", "Organization"),
		byReference("payor", "payor", "Patient", "RelatedPerson", "Organization"),
		byCode("status", fhirSystem+"fm-status", "status"),
		byToken("type", "type"), byToken("class-type", "class.type"), byToken("class-value", "class.value"),
		byToken("dependent", "dependent"),
		byDate("date", "period"),
	},
	"MedicationRequest": {
		identifierParam,
		byMember("patient", "subject"), byMember("subject", "subject"),
		byToken("code", "medicationCodeableConcept"),
		byReference("medication", "medicationReference", "Medication"),
		byCode("status", fhirSystem+"CodeSystem/medicationrequest-status", "status"),
		byCode("intent", fhirSystem+"CodeSystem/medicationrequest-intent", "intent"),
		byCode("priority", fhirSystem+"request-priority", "priority"),
		byToken("category", "category"),
		byDate("authoredon", "authoredOn"), byDate("date", "authoredOn"),
		byReference("requester", "requester", anyAuthor...),
		byReference("encounter", "encounter", "Encounter"),
		byReference("intended-dispenser", "dispenseRequest.performer", "Organization"),
		byReference("intended-performer", "performer", anyAuthor...),
	},
	"MedicationDispense": {
		identifierParam,
		byMember("patient", "subject"), byMember("subject", "subject"),
		byToken("code", "medicationCodeableConcept"),
		byReference("medication", "medicationReference", "Medication"),
		byCode("status", fhirSystem+"CodeSystem/medicationdispense-status", "status"),
		byToken("type", "type"),
		byDate("whenhandedover", "whenHandedOver"), byDate("date", "whenHandedOver"), byDate("whenprepared", "whenPrepared"),
		byReference("prescription", "authorizingPrescription", "MedicationRequest"),
		byReference("performer", "performer.actor", anyAuthor...),
		byReference("receiver", "receiver", "Patient", "Practitioner"),
		byReference("context", "context", "Encounter", "EpisodeOfCare"),
	},
	"AllergyIntolerance": {
		identifierParam,
		byMember("patient", "patient"), byMember("subject", "patient"),
		byToken("code", "code", "reaction.substance"),
		byToken("clinical-status", "clinicalStatus"), byToken("status", "clinicalStatus"),
		byToken("verification-status", "verificationStatus"),
		byCode("type", fhirSystem+"allergy-intolerance-type", "type"),
		byCode("category", fhirSystem+"allergy-intolerance-category", "category"),
		byCode("criticality", fhirSystem+"allergy-intolerance-criticality", "criticality"),
		byCode("severity", fhirSystem+"reaction-event-severity", "reaction.severity"),
		byToken("manifestation", "reaction.manifestation"), byToken("route", "reaction.exposureRoute"),
		byDate("date", "recordedDate"), byDate("last-date", "lastOccurrence"), byDate("onset", "reaction.onset"),
		byReference("recorder", "recorder", anyAuthor...),
		byReference("asserter", "asserter", anyAuthor...),
	},
	"Immunization": {
		identifierParam,
		byMember("patient", "patient"), byMember("subject", "patient"),
		byToken("vaccine-code", "vaccineCode"), byToken("code", "vaccineCode"),
		byCode("status", fhirSystem+"event-status", "status"),
		byToken("status-reason", "statusReason"), byToken("target-disease", "protocolApplied.targetDisease"),
		byDate("date", "occurrenceDateTime"),
		byText("lot-number", "lotNumber"), byText("series", "protocolApplied.series"),
		byReference("performer", "performer.actor", anyAuthor...),
		byReference("location", "location", "Location"),
		byReference("manufacturer", "manufacturer", "Organization"),
	},
	"Composition": {
		identifierParam,
		byMember("patient", "subject"), byMember("subject", "subject"),
		byCode("status", fhirSystem+"composition-status", "status"),
		byToken("type", "type"), byToken("category", "category"), byToken("section", "section.code"),
		byToken("confidentiality", "confidentiality"),
		byText("title", "title"),
		byDate("date", "date"), byDate("period", "event.period"),
		byReference("author", "author", anyAuthor...),
		byReference("attester", "attester.party", anyAuthor...),
		byReference("encounter", "encounter", "Encounter"),
	},
}
