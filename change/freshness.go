package change

import "time"

// Freshness is how far one source has been applied, as every answer states it.
// Committed is the source's commit time of the newest transaction or watermark
// applied.
type Freshness struct {
	Source    string
	Position  Position
	Token     string
	Committed time.Time
}
