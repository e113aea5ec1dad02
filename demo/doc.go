// Package demo makes two throw-away systems of record on this machine and keeps them alive: an EMR on
// PostgreSQL and a pharmacy and claims system on MariaDB, filled with Synthea's synthetic members.
//
// [Start] finds or installs the two servers and runs them in a work folder, detached: they survive the process
// that started them, and the next Start adopts them. [Load] fills them from a folder of Synthea CSV files, once.
// [Workload] keeps changing them. [Bars] shows how far the work is.
//
// What the files lack is added deterministically (see derive.go, fills.go and pressure.go): two loads of the same files give
// the same rows, byte for byte. Nothing here depends on the wall clock.
//
// Errors name the file, line, column or server, never a value.
package demo
