package middleware

import (
	"encoding/json"
	"strconv"
)

// maxPlaces is how many places of a request a line names in which rules matched.
// What stood there is not in the log.
const maxPlaces = 16

// inspectionFound writes what "vazel waf tune" reads: whether the request was or
// would have been blocked, and which rule matched where, such as "942100 ARGS:q".
func (rec *Record) inspectionFound(l *jsonLine) {
	if rec.InspectionOutcome != "" {
		l.text("vazel.inspection.outcome", rec.InspectionOutcome)
	}
	if rec.InspectionGuard != "" {
		l.text("vazel.inspection.guard", rec.InspectionGuard)
	}
	if len(rec.InspectionMatches) == 0 {
		return
	}
	var places []string
	for _, m := range rec.InspectionMatches {
		if len(places) == maxPlaces {
			break
		}
		places = append(places, strconv.Itoa(m.Rule)+" "+m.Where)
	}
	if b, err := json.Marshal(places); err == nil {
		l.name("vazel.inspection.matches")
		*l = append(*l, b...)
	}
}
