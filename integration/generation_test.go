package integration

// Generation is one for both stores of a pair. What a store draws by lot tells
// nothing that is hidden, and page links are bound to it.
func (s storeOf) Generation() string { return "of both" }
