package mapping

import "io/fs"

// LoadPlain is Load of a set whose every expression is evaluated by CEL.
func LoadPlain(fsys fs.FS, options Options) (*Set, []Problem) {
	return load(fsys, &Set{options: options, plain: true})
}
