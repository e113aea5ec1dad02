// Package audit is the record of who was shown what: one entry for every answer
// to a client, every match attempt and every delivery to a client's topic,
// durable before the answer leaves. It holds ids, types and fixed words, and
// nothing of what a resource says. Of refusals that disclosed nothing, one entry
// may tell of many.
//
// # The files
//
//	audit.key         the Ed25519 key that signs the head; made with the log, readable by its owner
//	audit.pub         its public half, for whoever verifies
//	000001.log ...    the segments: a header line, then a line for each entry
//	head              number and hash of the last acknowledged entry, signed, twice
//	torn-...          what Open cut off behind the last whole entry
//	lock              held by the process that writes
//
// A segment is text. Its header names the segment, the first entry, the hash
// before it and the newest time before it. An entry is
//
//	{"n":17,"time":"...","kind":"read",...} HASH
//
// and HASH is the SHA-256 of the hash before it and the entry's JSON. The hash
// before entry 1 is made of the public key, so that a chain belongs to its key.
//
// # What holds
//
//   - A1: Append returns nil only when the entry is on disk, and after it a head
//     that covers it. So no acknowledged entry can be cut off unseen. What folds
//     (Event.Folds) may be on disk a stretch later, in one entry with its count.
//   - A2: A crash leaves at most entries behind the head. Open keeps those that
//     are whole and in the chain, and sets aside the rest.
//   - A3: After the first failed write or sync nothing is accepted any more.
//   - A4: An event that holds more than ids, types and fixed words is refused.
//
// # What is not found
//
// Log and head, taken back together to an older state of both, look like that
// older state; and whoever holds audit.key can write another history. Both are
// found by a head that was noted elsewhere (VerifyOptions.Expect).
package audit
