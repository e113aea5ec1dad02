package pebble

import (
	"sort"

	"github.com/tributary-health/tributary/change"
	"github.com/tributary-health/tributary/commit"
)

// CommitAt returns the largest visible commit number at which no source was
// applied further than its position in at. A source that at does not name is not
// looked at. Zero: not even the first.
func (db *DB) CommitAt(at map[string]change.Position) (commit.Number, error) {
	last := db.state.Load().frontier.Number
	var failed error
	beyond := sort.Search(int(last), func(i int) bool {
		info, err := db.info(commit.Number(i + 1))
		if err != nil {
			failed = err
			return false
		}
		for _, s := range info.Sources {
			if limit, named := at[s.Source]; named && s.Position.Compare(limit) > 0 {
				return true
			}
		}
		return false
	})
	return commit.Number(beyond), failed
}
