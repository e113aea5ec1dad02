// Package mapping is the declarative language that says how rows become
// resources: YAML files with CEL expressions. docs/mapping.md is its reference.
// A Set is checked as a whole when it is loaded: against the FHIR definitions
// at once, against table schemas when these are known.
package mapping

import (
	"fmt"

	"github.com/tributary-health/tributary/change"
)

// Problem is one fault in a mapping file. Column and Line count from 1.
type Problem struct {
	File   string
	Line   int
	Column int
	What   string
	Hint   string
}

// Error prints "file:line:column: what (hint)".
func (p Problem) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.What)
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// TableDecl is one table as the mappings declare it.
type TableDecl struct {
	Table change.Table
	Route change.Route
	Root  bool   // the table whose primary key is the member key
	Time  string // column that dates a row in the member's record; empty for none
	Zone  string // zone of Timestamp columns; UTC unless declared
}

// Cardinality says what a join gives.
type Cardinality uint8

// The kinds of join.
const (
	// One row of Table by primary key, taken from Column of From.
	One Cardinality = iota + 1
	// Many rows of Table whose Column holds the primary key of this row. Within
	// one member's record if Table has members.
	Many
	// All rows of Table in the member's record.
	All
)

// Join names other rows that a resource is made from. From is the index of an
// earlier One join, or -1 for the resource's own row. A One join with Fixed goes
// out from no row: it gives the row of a reference table whose primary key is
// Fixed, the same for every resource.
type Join struct {
	Name        string
	Cardinality Cardinality
	Table       change.Table
	From        int
	Column      string
	Fixed       string
}

// Row is a row with its schema, as composition hands it to an expression. The
// zero Row is no row: null in an expression. Key is its primary key as
// change.Schema.Key gives it, made from the values where it is empty.
type Row struct {
	Schema *change.Schema
	Values []change.Value
	Key    string
}

// Input is everything a resource is made from. Joined is aligned with
// Resource.Joins: at most one row for One, any number for Many and All, in key
// order. Newest is the newest value of the Time columns in the member's record,
// in FHIR's dateTime form; empty for none.
type Input struct {
	Row    Row
	Joined []*Rows
	Newest string
}
