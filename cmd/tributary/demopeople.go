package main

import (
	"encoding/csv"
	"os"
	"path/filepath"

	"github.com/tributary-health/tributary/fhir"
	"github.com/tributary-health/tributary/hashmatch"
)

// demoPeopleFile is what a partner of the demo asks for: members as the partner
// knows them, and a stranger.
const demoPeopleFile = "people.csv"

// writePeople writes the file with the members given. They are synthetic.
func writePeople(p *pipeline, work string, members []tryMember) error {
	view, err := p.store.At(0)
	if err != nil {
		return err
	}
	defer view.Close()
	f, err := os.OpenFile(filepath.Join(work, demoPeopleFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := csv.NewWriter(f)
	lines := [][]string{{"ref", "given", "family", "birth_date", "sex", "zip", "ssn4"}}
	for i, m := range members {
		v, ok, err := view.Read(fhir.ResourceID{Type: "Patient", ID: m.id})
		if err != nil || !ok || v.Deleted {
			continue
		}
		d, err := hashmatch.FromPatient(v.Body)
		if err != nil || len(d.Names) == 0 || len(d.Names[0].Given) == 0 {
			continue
		}
		zip := ""
		if len(d.Addresses) > 0 {
			zip = d.Addresses[0].ZIP
		}
		lines = append(lines, []string{"member-" + string(rune('1'+i)), d.Names[0].Given[0], d.Names[0].Family, d.BirthDate, d.Sex, zip, hashmatch.NormalSSN4(d.SSN)})
	}
	lines = append(lines, []string{"stranger", "Ada", "Nobody", "1980-01-01", "F", "02139", "1234"})
	if err := w.WriteAll(lines); err != nil {
		return err
	}
	return f.Sync()
}
