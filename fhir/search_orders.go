package fhir

// Orders, fills and documents.
var (
	medicationRequestParams = []SearchParam{
		identifierParam,
		byMember("patient", "subject"), byMember("subject", "subject"),
		byToken("code", "medicationCodeableConcept"),
		byReference("medication", "medicationReference", "Medication"),
		byCode("status", fhirSystem+"CodeSystem/medicationrequest-status", "status"),
		byCode("intent", fhirSystem+"CodeSystem/medicationrequest-intent", "intent"),
		byCode("priority", fhirSystem+"request-priority", "priority"),
		byToken("category", "category"), byToken("intended-performertype", "performerType"),
		byDate("authoredon", "authoredOn"),
		own("when the order was written, as authoredon; R4's date of the dosage's timing is not searched", byDate("date", "authoredOn")),
		byReference("requester", "requester", anyAuthor...),
		byReference("encounter", "encounter", "Encounter"),
		byReference("intended-dispenser", "dispenseRequest.performer", "Organization"),
		byReference("intended-performer", "performer", "Practitioner", "PractitionerRole", "Device", "Patient", "RelatedPerson", "Organization", "CareTeam"),
	}
	medicationDispenseParams = []SearchParam{
		identifierParam,
		byMember("patient", "subject"), byMember("subject", "subject"),
		byToken("code", "medicationCodeableConcept"),
		byReference("medication", "medicationReference", "Medication"),
		byCode("status", fhirSystem+"CodeSystem/medicationdispense-status", "status"),
		byToken("type", "type"),
		byDate("whenhandedover", "whenHandedOver"), byDate("whenprepared", "whenPrepared"),
		own("when it was handed over", byDate("date", "whenHandedOver")),
		byReference("prescription", "authorizingPrescription", "MedicationRequest"),
		byReference("performer", "performer.actor", anyAuthor...),
		byReference("receiver", "receiver", "Patient", "Practitioner"),
		byReference("responsibleparty", "substitution.responsibleParty", "Practitioner", "PractitionerRole"),
		byReference("destination", "destination", "Location"),
		byReference("context", "context", anyVisit...),
	}
	compositionParams = []SearchParam{
		identifierParam,
		byMember("patient", "subject"), byMember("subject", "subject"),
		byCode("status", fhirSystem+"composition-status", "status"),
		byToken("type", "type"), byToken("category", "category"), byToken("section", "section.code"), byToken("context", "event.code"),
		byCode("confidentiality", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "confidentiality"),
		byText("title", "title"),
		byDate("date", "date"), byDate("period", "event.period"),
		byReference("author", "author", anyAuthor...),
		byReference("attester", "attester.party", "Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Organization"),
		byReference("encounter", "encounter", anyVisit...),
	}
	taskParams = []SearchParam{
		identifierParam,
		byMember("patient", "for"), byMember("subject", "for"),
		byToken("code", "code"), byToken("business-status", "businessStatus"), byToken("performer", "performerType"),
		byToken("group-identifier", "groupIdentifier"),
		byCode("status", fhirSystem+"task-status", "status"),
		byCode("intent", fhirSystem+"task-intent", "intent"),
		byCode("priority", fhirSystem+"request-priority", "priority"),
		byDate("authored-on", "authoredOn"), byDate("modified", "lastModified"), byDate("period", "executionPeriod"),
		own("when it is to be done", byDate("due", "restriction.period")),
		byReference("owner", "owner", "Practitioner", "PractitionerRole", "Organization", "CareTeam", "HealthcareService", "Patient", "Device", "RelatedPerson"),
		byReference("requester", "requester", anyAuthor...),
		byReference("encounter", "encounter", "Encounter"),
		byReference("based-on", "basedOn"), byReference("focus", "focus"),
		byReference("part-of", "partOf", "Task"),
	}
	provenanceParams = []SearchParam{
		byReference("target", "target"),
		byMember("patient", "target"),
		byReference("agent", "agent.who", anyAuthor...),
		byToken("agent-role", "agent.role"), byToken("agent-type", "agent.type"),
		byReference("entity", "entity.what"),
		byReference("location", "location", "Location"),
		byDate("recorded", "recorded"), byDate("when", "occurredDateTime"),
	}
)
