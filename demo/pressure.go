package demo

import "io/fs"

// A blood pressure is two rows of the observations, one of each code: same patient, encounter and date. A system of record knows
// which two belong together, the files do not say so: the loader has each name the other. Where a measurement was written twice,
// the first goes with the first and the second with the second; a row without its other names none.

var observationKey = []string{"PATIENT", "ENCOUNTER", "CODE", "DATE"}

// otherPressure is the LOINC code of the other row: systolic of diastolic and the other way round.
var otherPressure = map[string]string{"8480-6": "8462-4", "8462-4": "8480-6"}

// pressureKey names the rows of a code in the measurement that the current record belongs to.
func pressureKey(c *csvFile, code string) [32]byte {
	return digest("pressure", c.cell("PATIENT"), c.cell("ENCOUNTER"), code, c.cell("DATE"))
}

// bloodPressures counts the rows of each code in each measurement.
func (s *survey) bloodPressures(data fs.FS) error {
	return each(data, "observations", func(c *csvFile) error {
		if code := c.cell("CODE"); otherPressure[code] != "" {
			s.pressures[pressureKey(c, code)]++
		}
		return nil
	})
}

// addedPaired is the key of the other row of a blood pressure.
func addedPaired(s *survey, c *csvFile, r row) (string, error) {
	other := otherPressure[c.cell("CODE")]
	if other == "" || r.nth >= s.pressures[pressureKey(c, other)] {
		return "", nil
	}
	return surrogate("observations", r.nth, c.cell("PATIENT"), c.cell("ENCOUNTER"), other, c.cell("DATE")), nil
}
