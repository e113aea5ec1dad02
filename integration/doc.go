// Package integration tests the whole product: the real binary between a real
// PostgreSQL, a real MariaDB, a Kafka client and an HTTP client, killed and
// attacked while others read.
package integration
