package fhir

import "slices"

const usCoreExtension = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"

// Who and where: persons, organizations and places.
var (
	patientParams = slices.Concat(humanNameParams, addressParams, telecomParams, []SearchParam{
		identifierParam, genderParam,
		postedParam(byDate("birthdate", "birthDate")),
		byDate("death-date", "deceasedDateTime"),
		byToken("active", "active"),
		byToken("language", "communication.language"),
		byReference("general-practitioner", "generalPractitioner", "Organization", "Practitioner", "PractitionerRole"),
		byReference("organization", "managingOrganization", "Organization"),
		byReference("link", "link.other", "Patient", "RelatedPerson"),
		only("url", usCoreExtension+"race", byToken("race", "extension.extension.valueCoding")),
		only("url", usCoreExtension+"ethnicity", byToken("ethnicity", "extension.extension.valueCoding")),
		only("url", usCoreExtension+"genderIdentity", byToken("gender-identity", "extension.valueCodeableConcept")),
	})
	practitionerParams = slices.Concat(humanNameParams, addressParams, telecomParams, []SearchParam{
		identifierParam, genderParam,
		byToken("active", "active"),
		byToken("communication", "communication"),
	})
	practitionerRoleParams = slices.Concat(telecomParams, []SearchParam{
		identifierParam,
		byToken("specialty", "specialty"), byToken("role", "code"), byToken("active", "active"),
		byDate("date", "period"),
		postedParam(byReference("practitioner", "practitioner", "Practitioner")),
		postedParam(byReference("organization", "organization", "Organization")),
		byReference("location", "location", "Location"),
		byReference("service", "healthcareService", "HealthcareService"),
		byReference("endpoint", "endpoint", "Endpoint"),
	})
	organizationParams = slices.Concat(addressParams, []SearchParam{
		identifierParam,
		postedParam(byText("name", "name", "alias")),
		byToken("active", "active"),
		byToken("type", "type"),
		byReference("partof", "partOf", "Organization"),
		byReference("endpoint", "endpoint", "Endpoint"),
	})
	locationParams = slices.Concat(addressParams, []SearchParam{
		identifierParam,
		postedParam(byText("name", "name", "alias")),
		byToken("type", "type"),
		byCode("status", fhirSystem+"location-status", "status"),
		byToken("operational-status", "operationalStatus"),
		postedParam(byReference("organization", "managingOrganization", "Organization")),
		byReference("partof", "partOf", "Location"),
		byReference("endpoint", "endpoint", "Endpoint"),
	})
)
