package demo

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"
)

// An order is what the workload needs of a row of medications.
type order struct {
	id, patient, encounter, code, description, prescriber string
}

// pharmacy runs f in one transaction of MariaDB.
func (h *hand) pharmacy(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := h.my.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

// ignoreDone drops the error of rolling back what a broken connection or a cancelled context has rolled back already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

const orderColumns = "SELECT id, patient, encounter, code, coalesce(description, ''), prescriber FROM medications "

// openOrder picks an order that has not stopped.
func (h *hand) openOrder(ctx context.Context, tx *sql.Tx) (o order, err error) {
	for _, from := range []string{h.somewhere(), ""} { // from the start again when there is none behind
		err = tx.QueryRowContext(ctx, orderColumns+"WHERE id >= ? AND stop IS NULL ORDER BY id LIMIT 1", from).
			Scan(&o.id, &o.patient, &o.encounter, &o.code, &o.description, &o.prescriber)
		if !errors.Is(err, sql.ErrNoRows) {
			return o, err
		}
	}
	return o, errNothing
}

// fillOrder hands an order over once more, as it was handed over last.
func (h *hand) fillOrder(ctx context.Context, tx *sql.Tx, o order, nth int) error {
	var organization, quantity string
	var days, last int
	var ndc sql.NullString
	err := tx.QueryRowContext(ctx, `SELECT organization, quantity, days_supply, refill_number, ndc FROM fills
		WHERE medication = ? ORDER BY refill_number DESC, id LIMIT 1`, o.id).Scan(&organization, &quantity, &days, &last, &ndc)
	if errors.Is(err, sql.ErrNoRows) {
		last, days, quantity = -1, 30, "30.00"
		err = tx.QueryRowContext(ctx, "SELECT organization, ndc FROM fills WHERE code = ? ORDER BY id LIMIT 1", o.code).Scan(&organization, &ndc)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return errNothing
	}
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO fills (id, medication, patient, organization, dispensed, refill_number, days_supply, quantity, daw, code, ndc, description)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, nullif(?, ''))`, h.id("fills", nth), o.id, o.patient, organization,
		h.clock.Format(time.DateTime), last+1, days, quantity, o.code, ndc, o.description)
	return err
}

func (h *hand) newFill(ctx context.Context) error {
	return h.pharmacy(ctx, func(tx *sql.Tx) error {
		o, err := h.openOrder(ctx, tx)
		if err != nil {
			return err
		}
		return h.fillOrder(ctx, tx, o, 0)
	})
}

func (h *hand) refillAll(ctx context.Context) error {
	return h.pharmacy(ctx, func(tx *sql.Tx) error {
		one, err := h.openOrder(ctx, tx)
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, orderColumns+"WHERE patient = ? AND stop IS NULL ORDER BY id LIMIT 20", one.patient)
		if err != nil {
			return err
		}
		defer rows.Close()
		var all []order
		for rows.Next() {
			var o order
			if err := rows.Scan(&o.id, &o.patient, &o.encounter, &o.code, &o.description, &o.prescriber); err != nil {
				return err
			}
			all = append(all, o)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for i, o := range all {
			if err := h.fillOrder(ctx, tx, o, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// replace stops one order and starts another of a drug that some member takes, so that the number of open orders stays.
func (h *hand) replace(ctx context.Context) error {
	return h.pharmacy(ctx, func(tx *sql.Tx) error {
		old, err := h.openOrder(ctx, tx)
		if err != nil {
			return err
		}
		drug, err := h.openOrder(ctx, tx)
		if err != nil {
			return err
		}
		now := h.clock.Format(time.DateTime)
		if _, err := tx.ExecContext(ctx, "UPDATE medications SET stop = ? WHERE id = ?", now, old.id); err != nil {
			return err
		}
		fresh := order{h.id("medications", 0), old.patient, old.encounter, drug.code, drug.description, old.prescriber}
		_, err = tx.ExecContext(ctx, `INSERT INTO medications (id, start, patient, payer, encounter, code, description, base_cost, payer_coverage, dispenses, totalcost, prescriber)
			SELECT ?, ?, patient, payer, encounter, ?, nullif(?, ''), base_cost, 0, 12, base_cost * 12, prescriber FROM medications WHERE id = ?`,
			fresh.id, now, fresh.code, fresh.description, old.id)
		if err != nil {
			return err
		}
		return h.fillOrder(ctx, tx, fresh, 0)
	})
}

// aFill picks a fill.
func (h *hand) aFill(ctx context.Context, tx *sql.Tx) (id, patient string, err error) {
	for _, from := range []string{h.somewhere(), ""} {
		err = tx.QueryRowContext(ctx, "SELECT id, patient FROM fills WHERE id >= ? ORDER BY id LIMIT 1", from).Scan(&id, &patient)
		if !errors.Is(err, sql.ErrNoRows) {
			return id, patient, err
		}
	}
	return "", "", errNothing
}

// moveFill corrects a fill that was booked on the wrong member: it becomes the next fill of the other's order.
func (h *hand) moveFill(ctx context.Context) error {
	return h.pharmacy(ctx, func(tx *sql.Tx) error {
		fill, from, err := h.aFill(ctx, tx)
		if err != nil {
			return err
		}
		var to order
		for try := 0; try < 8 && (to.patient == "" || to.patient == from); try++ {
			if to, err = h.openOrder(ctx, tx); err != nil {
				return err
			}
		}
		if to.patient == from {
			return errNothing
		}
		var refill int
		err = tx.QueryRowContext(ctx, "SELECT coalesce(max(refill_number), -1) + 1 FROM fills WHERE medication = ?", to.id).Scan(&refill)
		if err != nil {
			return err
		}
		var ndc sql.NullString
		err = tx.QueryRowContext(ctx, "SELECT ndc FROM fills WHERE code = ? ORDER BY id LIMIT 1", to.code).Scan(&ndc)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE fills SET patient = ?, medication = ?, code = ?, ndc = ?, description = nullif(?, ''), refill_number = ? WHERE id = ?",
			to.patient, to.id, to.code, ndc, to.description, strconv.Itoa(refill), fill)
		return err
	})
}

func (h *hand) deleteFill(ctx context.Context) error {
	return h.pharmacy(ctx, func(tx *sql.Tx) error {
		fill, _, err := h.aFill(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM fills WHERE id = ?", fill)
		return err
	})
}
