package demo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// installScript installs the packages it is given without letting them make or start a server.
//
//go:embed install.sh
var installScript string

// programs are the servers' executables on this machine.
type programs struct {
	postgres       map[string]string // major version: folder with initdb and postgres
	mariadbd       string
	mariadbInstall string
}

// provide finds the programs, and installs the packages of those that are missing.
func provide(ctx context.Context, work string, log func(string)) (programs, error) {
	p := findPrograms()
	missing := p.missing()
	if len(missing) > 0 {
		if err := install(ctx, missing, log); err != nil {
			return p, err
		}
		p = findPrograms()
		if missing = p.missing(); len(missing) > 0 {
			return p, fmt.Errorf("demo: %s still missing after the installation", strings.Join(missing, " and "))
		}
	}
	return p, nil
}

func findPrograms() programs {
	p := programs{postgres: map[string]string{}}
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // a fixed, valid pattern
	for _, bin := range folders {
		if executable(filepath.Join(bin, "initdb")) && executable(filepath.Join(bin, "postgres")) {
			p.postgres[filepath.Base(filepath.Dir(bin))] = bin
		}
	}
	if path, err := exec.LookPath("initdb"); err == nil && executable(filepath.Join(filepath.Dir(path), "postgres")) {
		if v := versionOf(path); v != "" && p.postgres[v] == "" {
			p.postgres[v] = filepath.Dir(path)
		}
	}
	p.mariadbd = lookup("mariadbd")
	p.mariadbInstall = lookup("mariadb-install-db")
	if lookup("my_print_defaults") == "" {
		p.mariadbInstall = "" // the installer cannot run without it
	}
	return p
}

// missing names the servers that are not there.
func (p programs) missing() []string {
	var names []string
	if len(p.postgres) == 0 {
		names = append(names, "PostgreSQL")
	}
	if p.mariadbd == "" || p.mariadbInstall == "" || os.Geteuid() == 0 && !hasUser("mysql") {
		names = append(names, "MariaDB")
	}
	return names
}

// postgresFor is the folder of programs for a data folder: of the version that made it, or else the newest.
func (p programs) postgresFor(data string) (string, error) {
	if v := postgresVersion(data); v != "" {
		if p.postgres[v] == "" {
			return "", fmt.Errorf("demo: %s was made by PostgreSQL %s, which is not installed (hint: install postgresql-%s, or `make demo-clean`)", data, v, v)
		}
		return p.postgres[v], nil
	}
	var newest string
	var best float64
	for v, bin := range p.postgres {
		if n, err := strconv.ParseFloat(v, 64); err == nil && n > best {
			newest, best = bin, n
		}
	}
	if newest == "" {
		return "", errors.New("demo: no PostgreSQL programs found")
	}
	return newest, nil
}

// install runs the script as root, or through sudo when that needs no password.
func install(ctx context.Context, missing []string, log func(string)) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("demo: %s missing, and this is no Debian or Ubuntu: install PostgreSQL (initdb, postgres) and MariaDB 10.5 or newer (mariadbd, mariadb-install-db) so that they are in PATH", strings.Join(missing, " and "))
	}
	args := []string{"sh", "-c", installScript, "install.sh"}
	for _, m := range missing {
		args = append(args, strings.ToLower(m))
	}
	if os.Geteuid() != 0 {
		if exec.CommandContext(ctx, "sudo", "-n", "true").Run() != nil {
			return fmt.Errorf("demo: %s missing; installing needs root, and there is no sudo without a password (hint: run `apt-get install %s` as root, then start again)",
				strings.Join(missing, " and "), strings.Join(packages(missing), " "))
		}
		args = append([]string{"sudo", "-n"}, args...)
	}
	log("installing " + strings.Join(missing, " and ") + " from the system's packages")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // the script puts things back
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return fmt.Errorf("demo: install %s: %w (hint: run `apt-get install %s` as root)\n%s", strings.Join(missing, " and "), err,
			strings.Join(packages(missing), " "), strings.Join(lines[max(0, len(lines)-10):], "\n"))
	}
	return nil
}

// packages are what a person would install by hand.
func packages(missing []string) []string {
	var names []string
	if slices.Contains(missing, "PostgreSQL") {
		names = append(names, "postgresql")
	}
	if slices.Contains(missing, "MariaDB") {
		names = append(names, "mariadb-server")
	}
	return names
}

// lookup finds a program in PATH or where the system keeps servers, which an ordinary user's PATH leaves out.
func lookup(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/libexec", "/usr/local/sbin", "/usr/local/bin"} {
		if path := filepath.Join(dir, name); executable(path) {
			return path
		}
	}
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// versionOf is the major version that a PostgreSQL program prints.
func versionOf(program string) string {
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return ""
	}
	for _, word := range strings.Fields(string(out)) {
		if major, _, _ := strings.Cut(word, "."); major != "" && major[0] >= '0' && major[0] <= '9' {
			return major
		}
	}
	return ""
}

func hasUser(name string) bool {
	_, err := serverAccount(name)
	return err == nil
}
