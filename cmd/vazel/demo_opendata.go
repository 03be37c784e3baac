package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dataset is one data set of the example portal. The figures are made up.
type dataset struct {
	Name  string     `json:"name"`
	Title string     `json:"title"`
	Notes string     `json:"notes"`
	Owner string     `json:"organization"`
	Tags  []string   `json:"tags"`
	Rows  [][]string `json:"-"` // the first one holds the names of columns
}

func datasets() []dataset {
	return []dataset{
		{"air-quality", "Качество на въздуха", "Средночасови концентрации на фини прахови частици.", "meu", []string{"околна среда", "въздух"},
			[][]string{{"station", "city", "pm10", "measured"}, {"ST-01", "София", "31.2", "2026-06-01T08:00:00Z"}, {"ST-02", "Пловдив", "27.8", "2026-06-01T08:00:00Z"}, {"ST-03", "Русе", "19.4", "2026-06-01T08:00:00Z"}}},
		{"schools", "Регистър на училищата", "Училища и детски градини по общини.", "meu", []string{"образование"},
			[][]string{{"code", "name", "municipality"}, {"1001", "1. СУ „Пенчо Славейков“", "Столична"}, {"1002", "ОУ „Иван Вазов“", "Бургас"}}},
		{"budget", "Бюджет на министерството", "Разходи по програми за годината.", "meu", []string{"финанси"},
			[][]string{{"program", "leva"}, {"Електронно управление", "81200000"}, {"Мрежова сигурност", "17400000"}}},
	}
}

// openData behaves like a CKAN portal (API version 3).
func openData() http.Handler {
	mux := http.NewServeMux()
	all := datasets()
	find := func(name string) *dataset {
		i := slices.IndexFunc(all, func(d dataset) bool { return d.Name == name })
		if i < 0 {
			return nil
		}
		return &all[i]
	}
	answer := func(w http.ResponseWriter, status int, result any) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.WriteHeader(status)
		m := map[string]any{"help": "/api/3/action/help_show", "success": status == http.StatusOK}
		if status == http.StatusOK {
			m["result"] = result
		} else {
			m["error"] = result
		}
		json.NewEncoder(w).Encode(m)
	}
	action := func(name string, f func(w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc("GET /api/3/action/"+name, f)
	}
	action("package_list", func(w http.ResponseWriter, r *http.Request) {
		names := []string{}
		for _, d := range all {
			names = append(names, d.Name)
		}
		answer(w, http.StatusOK, names)
	})
	action("package_show", func(w http.ResponseWriter, r *http.Request) {
		if d := find(r.FormValue("id")); d != nil {
			answer(w, http.StatusOK, d)
			return
		}
		answer(w, http.StatusNotFound, map[string]string{"__type": "Not Found Error", "message": "Not found"})
	})
	action("package_search", func(w http.ResponseWriter, r *http.Request) {
		q := strings.ToLower(r.FormValue("q"))
		found := []dataset{}
		for _, d := range all {
			if q == "" || q == "*:*" || strings.Contains(strings.ToLower(d.Title+d.Notes+d.Name+strings.Join(d.Tags, " ")), q) {
				found = append(found, d)
			}
		}
		answer(w, http.StatusOK, map[string]any{"count": len(found), "results": found})
	})
	action("datastore_search", func(w http.ResponseWriter, r *http.Request) {
		d := find(r.FormValue("resource_id"))
		if d == nil {
			answer(w, http.StatusNotFound, map[string]string{"__type": "Not Found Error", "message": "Resource not found"})
			return
		}
		limit := 100
		if n, err := strconv.Atoi(r.FormValue("limit")); err == nil && n >= 0 && n < limit {
			limit = n
		}
		records := []map[string]string{}
		for _, row := range d.Rows[1:] {
			if len(records) == limit {
				break
			}
			m := map[string]string{}
			for i, c := range row {
				m[d.Rows[0][i]] = c
			}
			records = append(records, m)
		}
		answer(w, http.StatusOK, map[string]any{"records": records, "total": len(d.Rows) - 1})
	})
	action("datastore_search_sql", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]any{"sql": r.FormValue("sql"), "records": []any{}})
	})
	mux.HandleFunc("GET /dataset/{name}/download.csv", func(w http.ResponseWriter, r *http.Request) {
		d := find(r.PathValue("name"))
		if d == nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="`+d.Name+`.csv"`)
		csv.NewWriter(w).WriteAll(d.Rows)
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for n := 1; ; n++ {
			fmt.Fprintf(w, "id: %d\nevent: measured\ndata: {\"pm10\": %.1f}\n\n", n, 20+float64(n%7))
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("POST /upload", countUpload)
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!DOCTYPE html><html lang="bg"><meta charset="utf-8"><title>Отворени данни</title><h1>Отворени данни</h1><ul>`)
		for _, d := range all {
			fmt.Fprintf(w, `<li><a href="/dataset/%s/download.csv">%s</a></li>`, d.Name, d.Title)
		}
		fmt.Fprint(w, `</ul></html>`)
	})
	return mux
}

func healthy(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") }
