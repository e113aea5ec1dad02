package demo

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// emr runs f in one transaction of PostgreSQL.
func (h *hand) emr(ctx context.Context, f func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, h.pg, f)
}

// aRow picks the key of a row of a table; the table's name and the condition are our own text.
func (h *hand) aRow(ctx context.Context, tx pgx.Tx, table, where string) (id string, err error) {
	for _, from := range []string{h.somewhere(), "00000000-0000-0000-0000-000000000000"} {
		err = tx.QueryRow(ctx, "SELECT id::text FROM "+table+" WHERE id >= $1 AND "+where+" ORDER BY id LIMIT 1", from).Scan(&id)
		if !errors.Is(err, pgx.ErrNoRows) {
			return id, err
		}
	}
	return "", errNothing
}

// visitNow writes an encounter of a living patient, like the last one that there was, and returns both keys.
func (h *hand) visitNow(ctx context.Context, tx pgx.Tx) (patient, encounter string, err error) {
	patient, err = h.aRow(ctx, tx, "patients", "NOT deceased AND EXISTS (SELECT FROM encounters WHERE patient = patients.id)")
	if err != nil {
		return "", "", err
	}
	encounter = h.id("encounters", 0)
	_, err = tx.Exec(ctx, `INSERT INTO encounters (id, start, stop, patient, organization, provider, payer, encounterclass, code, description, base_encounter_cost, total_claim_cost, payer_coverage)
		SELECT $1, $2, $3, patient, organization, provider, payer, 'ambulatory', '185345009', 'Encounter for symptom', 85.55, 85.55, 68.44
		FROM encounters WHERE patient = $4 ORDER BY start DESC, id LIMIT 1`,
		encounter, h.clock, h.clock.Add(15*time.Minute), patient)
	return patient, encounter, err
}

// substances are what a new allergy can be to: SNOMED CT or, of category medication, RxNorm.
var substances = []struct{ code, system, description, category string }{
	{"762952008", "SNOMED-CT", "Peanut (substance)", "food"},
	{"735029006", "SNOMED-CT", "Shellfish (substance)", "food"},
	{"260147004", "SNOMED-CT", "House dust mite (organism)", "environment"},
	{"111088007", "SNOMED-CT", "Latex (substance)", "environment"},
	{"7984", "RxNorm", "Penicillin V", "medication"},
	{"1191", "RxNorm", "Aspirin", "medication"},
	{"5640", "RxNorm", "Ibuprofen", "medication"},
}

func (h *hand) newAllergy(ctx context.Context) error {
	s := substances[h.rng.IntN(len(substances))]
	severity := h.pick("MILD", "MODERATE", "SEVERE")
	return h.emr(ctx, func(tx pgx.Tx) error {
		patient, encounter, err := h.visitNow(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO allergies (id, start, patient, encounter, code, system, description, type, category, reaction1, description1, severity1)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 'allergy', $8, '271807003', 'Eruption of skin (disorder)', $9)`,
			h.id("allergies", 0), h.clock, patient, encounter, s.code, s.system, s.description, s.category, severity)
		return err
	})
}

func (h *hand) deleteAllergy(ctx context.Context) error { return h.deleteFrom(ctx, "allergies") }

func (h *hand) deleteImmunization(ctx context.Context) error {
	return h.deleteFrom(ctx, "immunizations")
}

func (h *hand) deleteFrom(ctx context.Context, table string) error {
	return h.emr(ctx, func(tx pgx.Tx) error {
		id, err := h.aRow(ctx, tx, table, "true")
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM "+table+" WHERE id = $1", id)
		return err
	})
}

// vaccines are CVX codes with the words Synthea has for them.
var vaccines = [][2]string{
	{"140", "Influenza  seasonal  injectable  preservative free"},
	{"113", "Td (adult)  5 Lf tetanus toxoid  preservative free  adsorbed"},
	{"121", "zoster vaccine  live"},
	{"133", "Pneumococcal conjugate PCV 13"},
}

func (h *hand) newImmunization(ctx context.Context) error {
	v := vaccines[h.rng.IntN(len(vaccines))]
	return h.emr(ctx, func(tx pgx.Tx) error {
		patient, encounter, err := h.visitNow(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO immunizations (id, date, patient, encounter, code, description, base_cost) VALUES ($1, $2, $3, $4, $5, $6, 136.00)",
			h.id("immunizations", 0), h.clock, patient, encounter, v[0], v[1])
		return err
	})
}

// correctBirthDate moves a birth date by a day or a month, towards the past: nothing in the record comes before it.
func (h *hand) correctBirthDate(ctx context.Context) error {
	by := h.pick("1 day", "1 month", "10 days")
	return h.emr(ctx, func(tx pgx.Tx) error {
		id, err := h.aRow(ctx, tx, "patients", "true")
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE patients SET birthdate = birthdate - $1::interval WHERE id = $2", by, id)
		return err
	})
}

func (h *hand) changePhone(ctx context.Context) error {
	phone := phoneNumber("workload " + strconv.FormatUint(h.rng.Uint64(), 10))
	return h.emr(ctx, func(tx pgx.Tx) error {
		id, err := h.aRow(ctx, tx, "patients", "true")
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE patients SET phone = $1 WHERE id = $2", phone, id)
		return err
	})
}

// Names for new members, with digits as Synthea marks the ones it invents.
var (
	givenNames  = []string{"Ada101", "Bruno102", "Clara103", "Dario104", "Elena105", "Felix106", "Greta107", "Hugo108"}
	familyNames = []string{"Alder201", "Birch202", "Cedar203", "Dogwood204", "Elm205", "Fir206", "Gum207", "Holly208"}
)

// newMember enrols a person: first the EMR knows them, then the payer covers them for a year.
func (h *hand) newMember(ctx context.Context) error {
	patient := h.id("patients", 0)
	first, last := h.pick(givenNames...), h.pick(familyNames...)
	gender := h.pick("M", "F")
	born := h.clock.AddDate(-h.rng.IntN(80), 0, -1-h.rng.IntN(300))
	place := h.somewhere()
	err := h.emr(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO patients (id, birthdate, first, last, race, ethnicity, gender, address, city, state, county, zip, phone, email, member_number, deceased)
			VALUES ($1, $2, $3, $4, 'other', 'nonhispanic', $5, '1 Sample Street', 'Boston', 'Massachusetts', 'Suffolk County', '02108', $6, $7, $8, false)`,
			patient, born, first, last, gender, phoneNumber(patient), emailAddress(patient, first, last), memberNumber(patient))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO encounters (id, start, stop, patient, organization, provider, encounterclass, code, description, base_encounter_cost, total_claim_cost, payer_coverage)
			SELECT $1, $2, $3, $4, organization, id, 'wellness', '162673000', 'General examination of patient (procedure)', 136.80, 136.80, 136.80
			FROM providers ORDER BY id < $5, id LIMIT 1`,
			h.id("encounters", 0), h.clock, h.clock.Add(15*time.Minute), patient, place)
		return err
	})
	if err != nil {
		return err
	}
	_, err = h.my.ExecContext(ctx, `INSERT INTO payer_transitions (id, patient, memberid, start_date, end_date, payer, plan_ownership, owner_name)
		SELECT ?, ?, ?, ?, ?, id, 'Self', ? FROM payers WHERE name <> ? ORDER BY id < ?, id LIMIT 1`,
		h.id("payer_transitions", 0), patient, h.id("memberid", 0), h.clock.Format(time.DateTime),
		h.clock.AddDate(1, 0, 0).Format(time.DateTime), first+" "+last, noInsurance, place)
	return err
}
