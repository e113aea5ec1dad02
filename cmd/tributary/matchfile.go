package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tributary-health/tributary/hashmatch"
)

// matchColumns are the columns of a file of patients, in any order. ref is the
// partner's own and never leaves the machine.
var matchColumns = []string{"ref", "given", "family", "birth_date", "sex", "address", "zip", "phone", "member_id", "ssn4"}

// matchRow is one patient of the file.
type matchRow struct {
	line   int
	ref    string
	person hashmatch.Demographics
}

// maxMatchFile is well above what a day's patients take.
const maxMatchFile = 64 << 20

// readMatchFile reads the whole file before anything is sent. Its errors and the
// warnings name lines and columns, never what stands there: that is somebody's
// name.
func readMatchFile(file string, warnings io.Writer) ([]matchRow, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("match: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMatchFile+1))
	if err != nil {
		return nil, fmt.Errorf("match: read %s: %w", file, err)
	}
	if len(text) > maxMatchFile {
		return nil, fmt.Errorf("match: %s: more than %d MiB: split it", file, maxMatchFile>>20)
	}
	rows, err := parseMatchFile(text, warnings)
	if err != nil {
		return nil, fmt.Errorf("match: %s: %w", file, err)
	}
	return rows, nil
}

func parseMatchFile(text []byte, warnings io.Writer) ([]matchRow, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	header, err := r.Read()
	if err != nil {
		return nil, csvError(err)
	}
	columns, err := matchHeader(header, warnings)
	if err != nil {
		return nil, err
	}
	var rows []matchRow
	unused := 0
	for {
		record, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, csvError(err)
		}
		line, _ := r.FieldPos(0)
		row, wrong, err := readMatchRow(line, columns, record)
		if err != nil {
			return nil, err
		}
		for _, column := range wrong {
			if unused++; unused <= shownWarnings {
				fmt.Fprintf(warnings, "match: line %d, column %d (%s): not usable, left out\n", line, column+1, columns[column])
			}
		}
		rows = append(rows, row)
	}
	if unused > shownWarnings {
		fmt.Fprintf(warnings, "match: %d more values are not usable\n", unused-shownWarnings)
	}
	if len(rows) == 0 {
		return nil, errors.New("a header and no patient")
	}
	return rows, nil
}

const shownWarnings = 20

// csvError says where, and drops the rest of the cause.
func csvError(err error) error {
	var at *csv.ParseError
	switch {
	case err == io.EOF:
		return errors.New("the file is empty; its first line names the columns: " + strings.Join(matchColumns, ", "))
	case errors.As(err, &at) && errors.Is(err, csv.ErrFieldCount):
		return fmt.Errorf("line %d: another number of columns than line 1", at.Line)
	case errors.As(err, &at):
		return fmt.Errorf("line %d, column %d: %w", at.Line, at.Column, at.Err)
	}
	return err
}

// otherNames are what other systems call the columns, in lower case and without
// anything but letters and digits.
var otherNames = map[string]string{
	"id": "ref", "patientid": "ref", "recordid": "ref", "recid": "ref", "reference": "ref", "mrn": "ref",
	"firstname": "given", "givenname": "given", "first": "given",
	"lastname": "family", "familyname": "family", "last": "family", "surname": "family",
	"dob": "birth_date", "dateofbirth": "birth_date", "birthdate": "birth_date", "birthday": "birth_date",
	"gender": "sex", "administrativesex": "sex", "birthsex": "sex",
	"addressline": "address", "addressline1": "address", "address1": "address", "street": "address", "streetaddress": "address",
	"zipcode": "zip", "zip5": "zip", "postcode": "zip", "postalcode": "zip",
	"telephone": "phone", "phonenumber": "phone", "tel": "phone", "mobile": "phone",
	"memberid": "member_id", "membernumber": "member_id", "subscriberid": "member_id", "memberno": "member_id",
	"ssn": "ssn4", "ssnlast4": "ssn4", "last4ssn": "ssn4", "socialsecuritynumber": "ssn4",
}

// columnOf is the column that a header names, empty for one that is not used.
func columnOf(header string) string {
	name := strings.ToLower(strings.TrimSpace(header))
	if slices.Contains(matchColumns, name) {
		return name
	}
	return otherNames[strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			return c
		}
		return -1
	}, name)]
}

// matchHeader finds what is in which column; empty is one that is not used. A file
// without header has a patient there, so nothing of it is repeated.
func matchHeader(header []string, warnings io.Writer) ([]string, error) {
	columns := make([]string, len(header))
	var unused []string
	for i, name := range header {
		if columns[i] = columnOf(name); columns[i] == "" {
			unused = append(unused, strconv.Itoa(i+1))
		} else if slices.Contains(columns[:i], columns[i]) {
			return nil, fmt.Errorf("line 1, column %d: %s stands twice", i+1, columns[i])
		}
	}
	if len(header) == 1 && strings.ContainsAny(header[0], ";\t|") {
		return nil, errors.New("line 1: one column: columns are separated by commas; they are " + strings.Join(matchColumns, ", "))
	}
	if !slices.Contains(columns, "birth_date") {
		return nil, errors.New("line 1: no column birth_date: without it nobody is matched; the columns are " + strings.Join(matchColumns, ", "))
	}
	if len(unused) > 0 {
		fmt.Fprintf(warnings, "match: line 1: not used, and not sent: column %s\n", strings.Join(unused, ", "))
	}
	return columns, nil
}

// readMatchRow also returns the places of values that normalise to nothing.
func readMatchRow(line int, columns, record []string) (row matchRow, wrong []int, err error) {
	row = matchRow{line: line, ref: strconv.Itoa(line)}
	var name hashmatch.Name
	var address hashmatch.Address
	for i, value := range record {
		if !utf8.ValidString(value) {
			return row, nil, fmt.Errorf("line %d, column %d: not UTF-8; save the file as UTF-8", line, i+1)
		}
		value = strings.TrimSpace(value)
		if value == "" {
			continue
		}
		normal := value
		switch columns[i] {
		case "ref":
			row.ref = value
		case "given":
			name.Given, normal = []string{value}, hashmatch.NormalGiven(value)
		case "family":
			name.Family, normal = value, hashmatch.NormalFamily(value)
		case "birth_date":
			row.person.BirthDate, normal = value, hashmatch.NormalBirthDate(value)
		case "sex":
			row.person.Sex, normal = value, hashmatch.NormalSex(value)
		case "address":
			address.Line, normal = value, hashmatch.NormalLine(value)
		case "zip":
			address.ZIP, normal = value, hashmatch.NormalZIP(value)
		case "phone":
			row.person.Phones, normal = severalOf(value, hashmatch.NormalPhone)
		case "member_id":
			row.person.MemberIDs, normal = severalOf(value, hashmatch.NormalMemberID)
		case "ssn4":
			row.person.SSN, normal = value, hashmatch.NormalSSN4(value)
		}
		if normal == "" {
			wrong = append(wrong, i)
		}
	}
	if nobodysName(name) {
		wrong = append(wrong, slices.Index(columns, "given"), slices.Index(columns, "family"))
	}
	row.person.Names = []hashmatch.Name{name}
	row.person.Addresses = []hashmatch.Address{address}
	return row, wrong, nil
}

// nobodysName reports a given and a family name that together are a placeholder,
// such as JOHN DOE: each alone is a name.
func nobodysName(name hashmatch.Name) bool {
	if len(name.Given) == 0 || hashmatch.NormalGiven(name.Given[0]) == "" || hashmatch.NormalFamily(name.Family) == "" {
		return false
	}
	p := hashmatch.Normalize(hashmatch.Demographics{Names: []hashmatch.Name{name}})
	return len(p.Given) == 0 && len(p.Family) == 0
}

// severalOf splits at semicolons; normal is empty if one of the values
// normalises to nothing.
func severalOf(value string, normalize func(string) string) (values []string, normal string) {
	normal = value
	for _, v := range strings.Split(value, ";") {
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		values = append(values, v)
		if normalize(v) == "" {
			normal = ""
		}
	}
	return values, normal
}
