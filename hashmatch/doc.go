// Package hashmatch answers whether two sets of demographics name one person,
// without either side showing them: both normalise what they hold in the same
// way, make keyed hashes of combinations of it (tokens), and compare those.
//
// A partner makes a [Request] from [Demographics]; the payer makes the same
// tokens of its members, looks up who holds each of the request's, and asks
// [Decide] which one member that is, if any.
//
// Everything here is a pure function of its arguments. Nothing here logs, and no
// error holds a value that it was given. docs/matching.md is the specification
// for another implementer; [Version] changes with it.
package hashmatch

// Version names the rules of normalisation, the kinds of token and their inputs.
// Tokens of different versions never agree.
const Version = "1"
