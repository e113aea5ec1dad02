package fhir

// What a plan covers and pays.
var (
	coverageParams = []SearchParam{
		identifierParam,
		byMember("patient", "beneficiary"), byMember("beneficiary", "beneficiary"),
		own("the beneficiary", byMember("subject", "beneficiary")),
		byReference("subscriber", "subscriber", "Patient", "RelatedPerson"),
		byReference("policy-holder", "policyHolder", "Patient", "RelatedPerson", "Organization"),
		byReference("payor", "payor", "Patient", "RelatedPerson", "Organization"),
		byCode("status", fhirSystem+"fm-status", "status"),
		byToken("type", "type"), byToken("class-type", "class.type"), byText("class-value", "class.value"),
		byText("dependent", "dependent"),
		own("the period of the coverage", byDate("date", "period")),
	}
	explanationOfBenefitParams = []SearchParam{
		identifierParam,
		byMember("patient", "patient"),
		own("the patient", byMember("subject", "patient")),
		byToken("type", "type"),
		byCode("status", fhirSystem+"explanationofbenefit-status", "status"),
		byDate("created", "created"),
		byDate("service-date", "billablePeriod", "item.servicedDate", "item.servicedPeriod"),
		byDate("service-start-date", "billablePeriod.start", "item.servicedDate", "item.servicedPeriod.start"),
		byDate("billable-period-start", "billablePeriod.start"),
		byText("disposition", "disposition"),
		byReference("care-team", "careTeam.provider", "Practitioner", "PractitionerRole", "Organization"),
		byReference("claim", "claim", "Claim"),
		byReference("coverage", "insurance.coverage", "Coverage"),
		byReference("encounter", "item.encounter", "Encounter"),
		byReference("enterer", "enterer", "Practitioner", "PractitionerRole"),
		byReference("facility", "facility", "Location"),
		byReference("insurer", "insurer", "Organization"),
		byReference("payee", "payee.party", "Practitioner", "PractitionerRole", "Organization", "Patient", "RelatedPerson"),
		byReference("provider", "provider", "Practitioner", "PractitionerRole", "Organization"),
	}
)
