// Package pebble keeps the store in one directory, in the process, on Pebble.
//
// # Keys
//
// A key begins with a letter. Names (resource types, tables, parameters, topics)
// are two bytes, given out by N. Numbers are big-endian. A text that is not the
// last part of its key is escaped and terminated so that keys sort as tuples do
// (see appendText); below it is followed by a bar.
//
//	space     key                             value                              example
//	A meta    name                            text                               Aformat -> 3
//	B tokens  type, id                        member, its tokens, since when     B Patient, x7k2 -> x7k2, [9f.. 3]
//	T token   token, member|, type, id|, ^added   commit that removed it, or 0   T 9f.., x7k2|, Patient, x7k2|, ^3 -> 17
//	N name    kind, text                      two-byte number, layout of a table   N t MedicationRequest -> 0004
//	F         -                               frontier but Extra                 F -> 17, generation, offsets, outbox
//	X         -                               frontier's Extra                   X -> table schemas
//	L log     commit number                   commit.Info                        L 17 -> emr, 1.9034.0, ...
//	R row     table, route|, key              the row's body                     R emr.drug, |, 77 -> ...
//	G grouped route|, table, key              the row's body                     G 1041|, emr.t, 77 -> ...
//	C current type, id                        newest version's head, no body      C Patient, x7k2 -> commit 17, version 3, x7k2
//	H history type, id|, ^version             version with body                  H Patient, x7k2|, ^2 -> commit 9
//	M member  type, member|, id               version without body               M Claim, x7k2|, b31 -> commit 17, index
//	E         member|, type, id               -                                  E x7k2|, Claim, b31
//	S posting type, param, value|, member|, id   commit number                   S Patient, name, smith|, x7k2|, x7k2 -> 17
//	O outbox  partition, number               type, id, member, version, commit, sequence   O 2, 41 -> Claim b31 x7k2 1, 17, 0
//	P         partition                       last published number              P 2 -> 40
//	K parked  root                            since, attempts, reason            K ...
//	U undo    number                          keys and their former values       U 3 -> [C..., old], [R..., absent]
//	V content member|, type, id               newest version with body           V x7k2|, Patient, x7k2 -> commit 17, version 3
//
// What is read together is a group: R and G up to the route's bar, M up to the
// member's, H up to the id's, E and V up to the member's. Tables have filters by
// group, so that levels without a member's rows are passed over (see Order). T and B
// have none on purpose: how long it takes to look up a token says no more of it than
// it must. In V and G each key of no member, or of no route, is its own group: they
// are many, and are not read together.
//
// A table's rows are in G if its first row was commit.Row.Grouped, and in R
// otherwise; N says so beside its number. One seek finds a member's rows of all
// tables in G in one place. To list one table's rows or routes there, those of the
// others are passed over: about 13 µs a route, 1.3 s with 100,000 members of twelve
// tables. So tables of many routes that no other table shares stay in R, and cost
// those in G nothing.
//
// Ids are hashes. So what is read by id alone is small (C: a block has the heads of
// some fifty resources), and what is large lies with the rest of its member's (V),
// where whoever reads a member, or follows the outbox, finds the next one in the
// block that is there already. A resource that is deleted has a head and nothing in
// V; only what lives is there, once.
//
// An empty member in B and T holds its tokens and is not found by them.
//
// # How a view stays what it was
//
// A view is a number. It reads the living store and needs no snapshot of it,
// because nothing that it may need is ever taken away:
//
//   - C names the newest version, even one that is only staged, and V holds it
//     at the member that C says. When it is replaced it moves to H in the same
//     batch, so a reader that finds C newer than its view finds the version it
//     wants in H. One that reads C, and then nothing or another version number
//     in V, was overtaken by a write between the two: the version that C named
//     is in H now, for a number once given is never given again.
//   - M holds, per member that ever had the resource, the newest version there,
//     or a tombstone when it was deleted or moved away. An entry at or below the
//     view's number says what the view must show. One above it says only that
//     the resource may have been there: C and H decide.
//   - T only grows, too. A token that is taken from a resource keeps its entry,
//     which says with which commit. One that comes back gets another.
//   - S only grows. A posting above the view's number is given out only if the
//     resource lived then; and candidates are checked by the caller anyway.
//
// B, R, G, E and K belong to composition, which reads its own writes; no view shows
// them.
//
// # How a staged piece is undone
//
// A Stage batch holds one U record: for each key it touches, what the key held
// before. The Commit that moves the frontier over it removes all of U in its one
// synced batch. So U is empty, or the process stopped between the two; Open then
// puts the former values back, newest record first, each in one batch with the
// removal of its record, before it answers anything.
//
// # When a write fails
//
// Pebble ends the process when its log cannot be written. Here the first failed
// write, sync or create stops the store instead: from then on nothing reaches
// the disk, every Stage and Commit returns the error, Err and Stopped report
// it, and reads go on until the process stops in its own way. A Commit that
// failed in this way may be found, whole, when the store is opened again.
package pebble
