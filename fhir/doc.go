// Package fhir holds FHIR R4 resources as lossless JSON text and what can be
// said of them without knowing a customer: their definitions, their search
// values, their dates with precision, and the places where a stored version's
// metadata goes. Resources stay bytes: no struct type drops what it does not
// know.
package fhir
