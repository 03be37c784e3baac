package admin

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// maxListed is how many refusals are listed at once.
const maxListed = 500

// incident answers what "vazel incident" shows.
func (s *Server) incident(w http.ResponseWriter, r *http.Request) {
	var known any
	if s.o.Incident != nil {
		known = s.o.Incident(r.PathValue("id"))
	}
	if known == nil {
		http.Error(w, "this incident is not known here, or no longer", http.StatusNotFound)
		return
	}
	writeJSON(w, known)
}

// incidents lists the newest refusals.
func (s *Server) incidents(w http.ResponseWriter, r *http.Request) {
	if s.o.Incidents == nil {
		http.NotFound(w, r)
		return
	}
	most := 100
	if v := r.URL.Query().Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxListed {
			http.Error(w, "limit is a number from 1 to "+strconv.Itoa(maxListed), http.StatusBadRequest)
			return
		}
		most = n
	}
	writeJSON(w, s.o.Incidents(r.URL.Query(), most))
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v)
}
