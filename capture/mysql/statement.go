package mysql

// statementKind is what a statement in the log means to a reader of rows.
type statementKind uint8

const (
	harmless  statementKind = iota // nothing: definitions, users, maintenance
	begins                         // BEGIN
	commits                        // COMMIT
	rollsBack                      // ROLLBACK of the whole transaction
	prepares                       // any XA statement
	modifies                       // changes rows by statement; tables are not told
	affects                        // changes rows of tables without rows in the log
)

// statement is a classified statement; tables and what are set for affects.
type statement struct {
	kind   statementKind
	tables []name
	whole  string // a database that goes as a whole
	what   string
}

// classify tells what kind of statement a Query event holds. database is the one
// that unqualified names are in.
func classify(query []byte, database string) statement {
	l := &lexer{query}
	switch first := l.next(); first.word {
	case "BEGIN":
		return statement{kind: begins}
	case "START":
		if l.accept("TRANSACTION") {
			return statement{kind: begins}
		}
	case "COMMIT":
		return statement{kind: commits}
	case "ROLLBACK":
		if l.accept("WORK"); l.accept("TO") {
			return statement{}
		}
		return statement{kind: rollsBack}
	case "XA":
		return statement{kind: prepares}
	case "TRUNCATE":
		l.accept("TABLE")
		return statement{kind: affects, tables: []name{l.table(database)}, what: "TRUNCATE TABLE"}
	case "DROP":
		return classifyDrop(l, database)
	case "RENAME":
		return classifyRename(l, database)
	case "CREATE":
		return classifyCreate(l, database)
	case "ALTER":
		return classifyAlter(l, database)
	case "DELETE":
		return classifyDelete(l, database)
	case "SET":
		return classifySet(l, database)
	case "INSERT", "UPDATE", "REPLACE", "LOAD", "CALL", "DO", "EXECUTE", "WITH", "SELECT", "VALUES", "HANDLER", "(":
		return statement{kind: modifies}
	}
	return statement{}
}

func classifyDrop(l *lexer, database string) statement {
	switch l.next().word {
	case "TABLE", "TABLES":
		if l.accept("IF") {
			l.accept("EXISTS")
		}
		s := statement{kind: affects, what: "DROP TABLE"}
		for {
			s.tables = append(s.tables, l.table(database))
			if !l.accept(",") {
				return s
			}
		}
	case "DATABASE", "SCHEMA":
		if l.accept("IF") {
			l.accept("EXISTS")
		}
		return statement{kind: affects, what: "DROP DATABASE", whole: l.next().text}
	}
	return statement{}
}

func classifyRename(l *lexer, database string) statement {
	if !l.accept("TABLE", "TABLES") {
		return statement{}
	}
	if l.accept("IF") {
		l.accept("EXISTS")
	}
	s := statement{kind: affects, what: "RENAME TABLE"}
	for {
		s.tables = append(s.tables, l.table(database))
		for t := l.next(); t.word != "TO"; t = l.next() { // WAIT n, NOWAIT
			if t == (token{}) {
				return s
			}
		}
		s.tables = append(s.tables, l.table(database))
		if !l.accept(",") {
			return s
		}
	}
}

func classifyCreate(l *lexer, database string) statement {
	if !l.accept("OR") || !l.accept("REPLACE") || !l.accept("TABLE") {
		return statement{}
	}
	return statement{kind: affects, tables: []name{l.table(database)}, what: "CREATE OR REPLACE TABLE"}
}

// classifyDelete knows the statement with which a server empties a MEMORY table
// after its own restart; it names one table and has nothing behind.
func classifyDelete(l *lexer, database string) statement {
	if l.accept("FROM") {
		t := l.table(database)
		if l.next() == (token{}) {
			return statement{kind: affects, tables: []name{t}, what: "DELETE FROM by statement"}
		}
	}
	return statement{kind: modifies}
}

// classifySet looks behind MariaDB's SET STATEMENT ... FOR.
func classifySet(l *lexer, database string) statement {
	if !l.accept("STATEMENT") {
		return statement{}
	}
	for t := l.next(); t != (token{}); t = l.next() {
		if t.word == "FOR" {
			return classify(l.s, database)
		}
	}
	return statement{}
}

// classifyAlter finds what an ALTER TABLE does to rows without saying so in rows.
func classifyAlter(l *lexer, database string) statement {
	s := statement{kind: affects}
	for {
		switch {
		case l.accept("ONLINE", "OFFLINE"):
			continue
		case l.accept("IGNORE"):
			s.what = "ALTER IGNORE TABLE"
			continue
		case l.accept("TABLE"):
		default:
			return statement{}
		}
		break
	}
	if l.accept("IF") {
		l.accept("EXISTS")
	}
	s.tables = append(s.tables, l.table(database))
	if what := alteration(l, database, &s); what != "" {
		s.what = what
	}
	if s.what == "" {
		return statement{}
	}
	return s
}

// alteration walks the rest of an ALTER TABLE, outside parentheses.
func alteration(l *lexer, database string, s *statement) (what string) {
	depth := 0
	var before token
	for t := l.next(); t != (token{}); before, t = t, l.next() {
		switch t.word {
		case "(":
			depth++
		case ")":
			depth--
		}
		if depth > 0 {
			continue
		}
		switch t.word {
		case "RENAME":
			if next := l.peek().word; next != "COLUMN" && next != "INDEX" && next != "KEY" {
				l.accept("TO", "AS", "=")
				s.tables = append(s.tables, l.table(database))
				what = "ALTER TABLE ... RENAME"
			}
		case "PARTITION", "TABLE":
			switch before.word {
			case "TRUNCATE", "DROP", "EXCHANGE", "CONVERT":
				what = "ALTER TABLE ... " + before.word + " " + t.word
			case "WITH":
				s.tables = append(s.tables, l.table(database))
			}
		case "TABLESPACE":
			what = "ALTER TABLE ... TABLESPACE"
		case "PRIMARY":
			if l.peek().word == "KEY" {
				what = "a change of the primary key"
			}
		case "VERSIONING":
			what = "SYSTEM VERSIONING"
		case "CASCADE":
			what = "a foreign key that cascades, which the log does not show"
		case "NULL", "DEFAULT":
			if before.word == "SET" && what == "" && t.word == "NULL" {
				what = "a foreign key that sets NULL, which the log does not show"
			}
		}
	}
	return what
}
