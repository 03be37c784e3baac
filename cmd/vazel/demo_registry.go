package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

// company is an entry of the example registry. None exists.
type company struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Seat string `json:"seat"`
}

func companies() map[string]company {
	return map[string]company{
		"200000001": {"200000001", "Примерно дружество ООД", "гр. София"},
		"200000002": {"200000002", "Въображаеми услуги АД", "гр. Варна"},
	}
}

// registry behaves like a register that administrations query: it tells each
// answer whom it was given to, as the gateway reported it.
func registry() http.Handler {
	mux := http.NewServeMux()
	all := companies()
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /companies/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		c, ok := all[r.PathValue("id")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			json.NewEncoder(w).Encode(map[string]string{"error": "not found"})
			return
		}
		json.NewEncoder(w).Encode(map[string]any{
			"company": c, "given_to": r.Header.Get("X-Organization"), "given_to_id": r.Header.Get("X-Organization-Id"), "request_id": r.Header.Get("X-Request-Id"),
		})
	})
	mux.HandleFunc("GET /bulk", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		for _, id := range []string{"200000001", "200000002"} {
			json.NewEncoder(w).Encode(all[id])
		}
	})
	mux.HandleFunc("GET /whoami", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		m := map[string]string{}
		for name := range r.Header {
			if n := strings.ToLower(name); strings.HasPrefix(n, "x-") || strings.HasPrefix(n, "client-") || n == "forwarded" || n == "traceparent" {
				m[n] = r.Header.Get(name)
			}
		}
		json.NewEncoder(w).Encode(m)
	})
	mux.HandleFunc("POST /soap", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			ID string `xml:"Body>GetCompany>Id"`
		}
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		if err := xml.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&in); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><soap:Fault><faultcode>soap:Client</faultcode><faultstring>Malformed request</faultstring></soap:Fault></soap:Body></soap:Envelope>`)
			return
		}
		fmt.Fprintf(w, `<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><GetCompanyResponse><Name>%s</Name></GetCompanyResponse></soap:Body></soap:Envelope>`, all[in.ID].Name)
	})
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(64 << 10)
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	})
	mux.HandleFunc("POST /upload", countUpload)
	return mux
}

// countUpload says how much it was sent.
func countUpload(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, "the body broke off", http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, n)
}
