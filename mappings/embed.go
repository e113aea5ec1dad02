// Package mappings holds the sample mappings, so that one binary can run them.
package mappings

import "embed"

// FS is this folder's YAML files.
//
//go:embed *.yaml
var FS embed.FS
