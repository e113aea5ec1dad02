// Package testdata holds the sample that the demo and the tests share: a few of Synthea's synthetic members, all rows of each.
package testdata

import (
	"embed"
	"io/fs"
)

//go:generate go run ./subset -from ../../shared/data/synthea -to synthea

//go:embed synthea/*.csv.gz
var files embed.FS

// Synthea returns the sample as a folder of CSV files, one gzip file a table.
func Synthea() fs.FS {
	dir, err := fs.Sub(files, "synthea")
	if err != nil {
		panic(err) // the pattern above is fixed at build time
	}
	return dir
}
