// Package compose turns change events into FHIR resources. It assembles whole
// source transactions from landing records, keeps the row state, finds what
// depends on what changed, composes each such resource once, drops those whose
// content did not change, and hands rows, versions and progress to the store as
// one commit.
package compose
