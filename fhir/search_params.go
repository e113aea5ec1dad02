package fhir

// ParamKind is the type of a search parameter, in FHIR's word.
type ParamKind string

// The kinds.
const (
	TokenParam     ParamKind = "token"
	StringParam    ParamKind = "string"
	DateParam      ParamKind = "date"
	ReferenceParam ParamKind = "reference"
	QuantityParam  ParamKind = "quantity"
)

// SearchParam is one search parameter of one resource type. Paths lead to its
// elements; lists on the way are walked, and Only says which items of the first
// element count. Targets are the types a reference may point at: one that names
// another type is no value of the parameter. System is that of elements which
// are bare codes: those are compared case by case, other tokens are not. Member
// says that the reference is to the Patient whose record the resource belongs
// to. Posted says that its values are findable across members (see Postings);
// PostedAs names another parameter whose postings include this one's values.
// Definition is the canonical address of the SearchParameter, of US Core or CARIN
// Blue Button; Note describes one that R4 does not have under this name, or has
// with another meaning.
type SearchParam struct {
	Name       string
	Kind       ParamKind
	Paths      []string
	Only       Only
	Targets    []string
	System     string
	Member     bool
	Posted     bool
	PostedAs   string
	Definition string
	Note       string

	// stored is the name that the values are indexed under: parameters that mean
	// the same elements share them.
	stored string
}

// Only narrows a path to the items whose Member has the value Value: the
// extensions of one url, the telecoms of one system. The zero Only takes all.
type Only struct {
	Member, Value string
}

// SearchTypes lists the resource types that have search parameters of their
// own, in alphabetical order. The caller MUST NOT modify it.
func SearchTypes() []string { return searchTypes }

// SearchParams lists the parameters of the type beside _id and _lastUpdated, by
// name; nil for what is no resource type. The caller MUST NOT modify it.
func SearchParams(resourceType string) []SearchParam {
	if t := tableOf(resourceType); t != nil {
		return t.params
	}
	return nil
}

// FindParam returns the parameter of that name; nil if the type has none.
func FindParam(resourceType, name string) *SearchParam { return findParam(resourceType, name) }

// InRecord reports whether resources of the type belong to members' records, and
// not to the reference data that all members share.
func InRecord(resourceType string) bool {
	if resourceType == "Patient" {
		return true
	}
	for _, p := range SearchParams(resourceType) {
		if p.Member {
			return true
		}
	}
	return false
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

func byQuantity(name string, paths ...string) SearchParam {
	return SearchParam{Name: name, Kind: QuantityParam, Paths: paths}
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

// only narrows the paths to the items that say so.
func only(member, value string, p SearchParam) SearchParam {
	p.Only = Only{member, value}
	return p
}

// own marks a parameter that R4 does not have, or not like this.
func own(note string, p SearchParam) SearchParam {
	p.Note = note
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
		byText("address-country", "address.country"),
		byText("address-postalcode", "address.postalCode"),
		byText("address-state", "address.state"),
		byCode("address-use", fhirSystem+"address-use", "address.use"),
	}
	telecomParams = []SearchParam{
		byToken("telecom", "telecom"),
		only("system", "email", byToken("email", "telecom")),
		only("system", "phone", byToken("phone", "telecom")),
	}
	genderParam = byCode("gender", fhirSystem+"administrative-gender", "gender")
	anyAuthor   = []string{"Practitioner", "PractitionerRole", "Device", "Patient", "RelatedPerson", "Organization"}
	anyVisit    = []string{"Encounter", "EpisodeOfCare"}
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

// parameters is the one place where a resource type's search is declared.
var parameters = map[string][]SearchParam{
	"Patient":              patientParams,
	"Practitioner":         practitionerParams,
	"PractitionerRole":     practitionerRoleParams,
	"Organization":         organizationParams,
	"Location":             locationParams,
	"Coverage":             coverageParams,
	"ExplanationOfBenefit": explanationOfBenefitParams,
	"Encounter":            encounterParams,
	"Condition":            conditionParams,
	"Procedure":            procedureParams,
	"Observation":          observationParams,
	"MedicationRequest":    medicationRequestParams,
	"MedicationDispense":   medicationDispenseParams,
	"AllergyIntolerance":   allergyIntoleranceParams,
	"Immunization":         immunizationParams,
	"Composition":          compositionParams,
	"Provenance":           provenanceParams,
	"Task":                 taskParams,
}
