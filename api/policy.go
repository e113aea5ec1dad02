package api

import "github.com/tributary-health/tributary/access"

// policyID names what the caller may see, for the record.
func policyID(c access.Caller) string {
	if p := c.Policy(); p != nil {
		return p.ID()
	}
	return ""
}

// seesAll says whether nothing is hidden from the caller. Of a caller without a
// policy nobody knows.
func seesAll(c access.Caller) bool {
	p := c.Policy()
	return p != nil && p.Whole()
}
