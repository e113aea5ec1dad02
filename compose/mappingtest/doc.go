// Package mappingtest runs text cases over mappings: rows in, resources out.
// It composes by the same code as the pipeline, so joins, dates and members are
// as they are there. docs/mapping.md, "Testing mappings", describes the files.
package mappingtest
