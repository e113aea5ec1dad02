package demo

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// findings are SNOMED CT codes of diagnoses with the words Synthea has for them.
var findings = [][2]string{
	{"444814009", "Viral sinusitis (disorder)"},
	{"195662009", "Acute viral pharyngitis (disorder)"},
	{"10509002", "Acute bronchitis (disorder)"},
	{"59621000", "Essential hypertension (disorder)"},
}

// newVisit writes all that a visit leaves in the EMR, in one transaction: a diagnosis, a procedure, a laboratory value, and a blood
// pressure of two rows that name each other.
func (h *hand) newVisit(ctx context.Context) error {
	f := findings[h.rng.IntN(len(findings))]
	high, low := 100+h.rng.IntN(60), 60+h.rng.IntN(35)
	return h.emr(ctx, func(tx pgx.Tx) error {
		patient, encounter, err := h.visitNow(ctx, tx)
		if err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, `INSERT INTO conditions (id, start, patient, encounter, system, code, description) VALUES ($1, $2, $3, $4, 'SNOMED-CT', $5, $6)`,
			h.id("conditions", 0), h.clock, patient, encounter, f[0], f[1]); err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, `INSERT INTO procedures (id, start, stop, patient, encounter, system, code, description, base_cost, reasoncode, reasondescription)
			VALUES ($1, $2, $3, $4, $5, 'SNOMED-CT', '430193006', 'Medication Reconciliation (procedure)', 431.40, $6, $7)`,
			h.id("procedures", 0), h.clock, h.clock.Add(10*time.Minute), patient, encounter, f[0], f[1]); err != nil {
			return err
		}
		systolic, diastolic := h.id("observations", 0), h.id("observations", 1)
		for _, o := range []struct{ id, category, code, description, value, units, paired string }{
			{systolic, "vital-signs", "8480-6", "Systolic Blood Pressure", strconv.Itoa(high) + ".0", "mm[Hg]", diastolic},
			{diastolic, "vital-signs", "8462-4", "Diastolic Blood Pressure", strconv.Itoa(low) + ".0", "mm[Hg]", systolic},
			{h.id("observations", 2), "laboratory", "2339-0", "Glucose [Mass/volume] in Blood", strconv.Itoa(70+h.rng.IntN(40)) + ".5", "mg/dL", ""},
		} {
			if _, err = tx.Exec(ctx, `INSERT INTO observations (id, date, patient, encounter, category, code, description, value, units, type, paired)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'numeric', nullif($10, '')::uuid)`,
				o.id, h.clock, patient, encounter, o.category, o.code, o.description, o.value, o.units, o.paired); err != nil {
				return err
			}
		}
		return nil
	})
}

// aPressure picks a row of a blood pressure, systolic or diastolic, whose value is a number.
func (h *hand) aPressure(ctx context.Context, tx pgx.Tx) (id string, err error) {
	return h.aRow(ctx, tx, "observations", "paired IS NOT NULL AND type = 'numeric' AND value ~ '^[0-9]+[.][0-9]$'")
}

// correctPressure corrects both rows of a blood pressure, or the one that is left.
func (h *hand) correctPressure(ctx context.Context) error {
	return h.emr(ctx, func(tx pgx.Tx) error {
		id, err := h.aPressure(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE observations SET value = (value::numeric + 1)::text WHERE id = $1 OR paired = $1", id)
		return err
	})
}

// halvePressure deletes one of the two rows.
func (h *hand) halvePressure(ctx context.Context) error {
	return h.emr(ctx, func(tx pgx.Tx) error {
		id, err := h.aPressure(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM observations WHERE id = $1", id)
		return err
	})
}

// resolveCondition ends an open condition on the day of the clock.
func (h *hand) resolveCondition(ctx context.Context) error {
	return h.emr(ctx, func(tx pgx.Tx) error {
		id, err := h.aRow(ctx, tx, "conditions", "stop IS NULL")
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE conditions SET stop = $1 WHERE id = $2", h.clock, id)
		return err
	})
}
