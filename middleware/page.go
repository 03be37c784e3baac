package middleware

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page is part of the program
	"encoding/base64"
	"html/template"
	"sync"
)

//go:embed pages/refusal.html
var refusalHTML string

//go:embed pages/refusal.css
var refusalCSS string

// refusal is the page of a refused request: both languages, no script, nothing
// from elsewhere.
type refusal struct {
	template *template.Template
	policy   []string // Content-Security-Policy: nothing but the page's own style
}

// refusalPage is parsed when the first page is needed.
var refusalPage = sync.OnceValue(func() *refusal {
	sum := sha256.Sum256([]byte(refusalCSS))
	return &refusal{
		template: template.Must(template.New("refusal").Parse(refusalHTML)),
		policy: []string{"default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
	}
})

// pageData is what the template shows. All of it is ours, but for the name of a
// proven organization, which the configuration gives.
type pageData struct {
	Status   int
	Incident string
	Name     string
	Style    template.CSS
	Parts    [2]pagePart // the preferred language first
}

type pagePart struct {
	Lang                          string
	Error, Incident, Organization string // captions
	Text                          Localized
}

func (p *refusal) render(t Text, status int, rec *Record, bulgarian bool) []byte {
	bg := pagePart{"bg", "Грешка", "Номер на случая", "Организация", t.Bulgarian}
	en := pagePart{"en", "Error", "Incident number", "Organization", t.English}
	data := pageData{Status: status, Incident: rec.ID, Name: rec.OrgName, Style: template.CSS(refusalCSS), Parts: [2]pagePart{en, bg}}
	if bulgarian {
		data.Parts = [2]pagePart{bg, en}
	}
	var b bytes.Buffer
	if err := p.template.Execute(&b, data); err != nil { // a bug in the page, but the refusal stands
		return []byte(rec.ID + "\n")
	}
	return b.Bytes()
}
