package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// mariadbSettings are what the demo's source needs of a server: full row images with their metadata, GTIDs, a log that nobody
// purges, and every commit on disk before it is acknowledged. No Unix socket: its path could be too long. A folder of its own for
// temporary tables: at its start a server deletes all #sql files in that folder, so two that share /tmp crash each other.
const mariadbSettings = `[mariadbd]
datadir=%[1]s
tmpdir=%[3]s
socket=
bind-address=127.0.0.1
skip-name-resolve
init-file=%[2]s
server-id=1
gtid-domain-id=0
gtid-strict-mode=1
log-bin=binlog
log-slave-updates=1
binlog-format=ROW
binlog-row-image=FULL
binlog-row-metadata=FULL
expire-logs-days=0
sync-binlog=1
innodb-flush-log-at-trx-commit=1
innodb-buffer-pool-size=1G
max-connections=200
max-allowed-packet=64M
local-infile=1
character-set-server=utf8mb4
collation-server=utf8mb4_general_ci
default-time-zone=+00:00
sql-mode=STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION
`

// mariadbUsers runs at each start, unlogged: the one user, and nobody else beside the server's own.
const mariadbUsers = `SET sql_log_bin=0;
CREATE USER IF NOT EXISTS %[1]s@'127.0.0.1';
ALTER USER %[1]s@'127.0.0.1' IDENTIFIED BY '%[2]s';
GRANT ALL PRIVILEGES ON *.* TO %[1]s@'127.0.0.1' WITH GRANT OPTION;
DELETE FROM mysql.global_priv WHERE User NOT IN ('mariadb.sys', '%[1]s');
FLUSH PRIVILEGES;
`

// newMariaDB describes the server below dir; program is its mariadbd.
func newMariaDB(dir, program string, a account, port int, key string) *server {
	s := &server{name: "MariaDB", dir: dir, account: a, port: port, stop: syscall.SIGTERM}
	s.command = func(port int) (string, []string) {
		return program, []string{"--defaults-file=" + filepath.Join(dir, "my.cnf"), "--port=" + strconv.Itoa(port)}
	}
	s.ping = func(ctx context.Context, port int) error {
		db, err := openMariaDB(mariadbDSN(port, key, ""))
		if err != nil {
			return err
		}
		defer db.Close()
		var data string
		if err := db.QueryRowContext(ctx, "SELECT @@datadir").Scan(&data); err != nil {
			return err
		}
		if !sameFile(filepath.Clean(data), s.data()) {
			return fmt.Errorf("another server answers on port %d", port)
		}
		return nil
	}
	return s
}

// initMariaDB makes the data folder and the files the server starts with.
func initMariaDB(ctx context.Context, s *server, installer, key string) error {
	users, temp := filepath.Join(s.dir, "users.sql"), filepath.Join(s.dir, "tmp")
	files := map[string]string{
		users:                          fmt.Sprintf(mariadbUsers, userName, key),
		filepath.Join(s.dir, "my.cnf"): fmt.Sprintf(mariadbSettings, s.data(), users, temp),
	}
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return fmt.Errorf("demo: MariaDB: %w", err)
	}
	if err := s.account.own(temp); err != nil {
		return fmt.Errorf("demo: MariaDB: %w", err)
	}
	for file, text := range files {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return fmt.Errorf("demo: MariaDB: %w", err)
		}
		if err := s.account.own(file); err != nil {
			return fmt.Errorf("demo: MariaDB: %w", err)
		}
	}
	return s.initialise(ctx, func(data string) (string, []string) {
		return installer, []string{"--no-defaults", "--datadir=" + data, "--tmpdir=" + temp, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"}
	})
}

func mariadbDSN(port int, key, database string) string {
	return fmt.Sprintf("%s:%s@tcp(127.0.0.1:%d)/%s", userName, key, port, database)
}

// quiet keeps the driver from writing to standard error by itself: its errors are returned.
type quiet struct{}

func (quiet) Print(...any) {}

var _ mysql.Logger = quiet{}
