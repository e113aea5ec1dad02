// Command hammer makes members for the demo's databases, as many as one likes,
// and measures how Tributary bears their number.
//
// `hammer generate` writes a folder of Synthea-shaped CSV files that `tributary
// demo --data` takes. `hammer growth` makes such folders of several sizes, runs
// the demo over each in turn, and writes what it measured to bench/growth.md.
//
// The members are made of the sample's visits under other keys, times and names:
// all codes are real, every row refers to rows that are there, and nobody in
// them lives. The records' lengths are log-normal: most have a few rows, a few
// have thousands. A member depends on the seed and its own number alone, so a
// population is the beginning of every larger one.
package main
