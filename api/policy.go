package api

import "github.com/tributary-health/tributary/access"

// policyID names what the caller may see, for the record.
func policyID(c access.Caller) string {
	if p := c.Policy(); p != nil {
		return p.ID()
	}
	return ""
}
