package middleware

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// find feeds text in pieces, and returns what leaves and what was found.
func find(text string, size int, js bool, action leakAction) (out string, found map[string]int) {
	found = map[string]int{}
	f := &leakFinder{json: js, found: func(k leakKind) { found[leakNames[k]]++ }}
	for k := range f.kinds {
		f.kinds[k] = action
	}
	var b strings.Builder
	for i := 0; i < len(text); i += size {
		b.Write(f.feed([]byte(text[i:min(len(text), i+size)]), false))
	}
	b.Write(f.feed(nil, true))
	return b.String(), found
}

// TestFindLeaks: what is found is the same however the text is cut, and masks
// change nothing else.
func TestFindLeaks(t *testing.T) {
	t.Parallel()
	const egn, iban, card = "7501020018", "BG80BNBG96611020345678", "4111111111111111"
	for _, tt := range []struct {
		name, text, want string
		found            string
	}{
		{"EGN with a word", "ЕГН: " + egn + ".", "ЕГН: **********.", "map[egn:1]"},
		{"EGN in JSON", `{"egn":"` + egn + `"}`, `{"egn":"**********"}`, "map[egn:1]"},
		{"EGN as a number", `{"personEgn": ` + egn + `,"a":1}`, `{"personEgn": 9999999999,"a":1}`, "map[egn:1]"},
		{"EGN in ASCII JSON", `{"\u0415\u0413\u041d":"` + egn + `"}`, `{"\u0415\u0413\u041d":"**********"}`, "map[egn:1]"},
		{"EGN without a word", "Поръчка " + egn, "", "map[]"},
		{"EGN with a word in another", "Tregne " + egn, "", "map[]"},
		{"not an EGN", "ЕГН 7501020019", "", "map[]"},
		{"a column", "Име;ЕГН\n" + strings.Repeat("Иван Петров Иванов от града;"+egn+"\n", 9), "Име;ЕГН\n" + strings.Repeat("Иван Петров Иванов от града;**********\n", 9), "map[egn:9]"},
		{"coordinates", "ЕГН? 23.7501020018, 42.4111111111111111", "", "map[]"},
		{"IBAN", "Сметка " + iban + "!", "Сметка **********************!", "map[iban:1]"},
		{"IBAN in groups", "IBAN BG80 BNBG 9661 1020 3456 78 BGN", "IBAN **** **** **** **** **** ** BGN", "map[iban:1]"},
		{"not an IBAN", "BG81BNBG96611020345678 XX80BNBG96611020345678 BG80BNBG966110203456789", "", "map[]"},
		{"card", "card " + card + " ok", "card **************** ok", "map[card:1]"},
		{"card in groups", "card 4111-1111-1111-1111, 3782 822463 10005", "card ****-****-****-****, **** ****** *****", "map[card:2]"},
		{"card as a number", `{"pan":` + card + `}`, `{"pan":9999999999999999}`, "map[card:1]"},
		{"not a card", "4111111111111112 1234567812345670 41111111111111111111111", "", "map[]"},
		{"UUID and dates", "0b6c1c2e-4111-1111-1111-111111111111 2019 2020 2021 2022 2023", "", "map[]"},
		{"Java", "Error\n\tat bg.egov.Registry.find(Registry.java:12)\n\tat bg.egov.Main.main(Main.java:3)\n\nEnd", "Error\n\t** **.****.********.****(********.****:**)\n\t** **.****.****.****(****.****:*)\n\nEnd", "map[stack_trace:1]"},
		{"Java in JSON", `{"e":"x\n\tat bg.egov.A.b(A.java:1)\n\tat bg.egov.C.d(C.java:2)","ok":"end"}`, `{"e":"x\n\t** **.****.*.*(*.****:*)\n\t** **.****.*.*(*.****:*)","ok":"end"}`, "map[stack_trace:1]"},
		{"Python", "<pre>Traceback (most recent call last):\n  File \"/app/x.py\", line 3</pre>", "<pre>********* (**** ****** **** ****):\n  **** \"/***/*.**\", **** *</pre>", "map[stack_trace:1]"},
		{"Go", "goroutine 17 [running]:\nmain.main()", "********* ** [*******]:\n****.****()", "map[stack_trace:1]"},
		{"Oracle", "ORA-01756: quoted string", "***-*****: ****** ******", "map[stack_trace:1]"},
		{"words", "Caused by: rain. See goroutine scheduling, ORA-0 and \tat home.", "", "map[]"},
	} {
		js := strings.HasPrefix(tt.text, "{")
		if tt.want == "" {
			tt.want = tt.text
		}
		for _, size := range []int{1, 2, 3, 7, 16, 64, 1 << 20} {
			out, found := find(tt.text, size, js, leakMask)
			if out != tt.want || fmt.Sprint(found) != tt.found {
				t.Errorf("%s, by %d: %q %v, want %q %s", tt.name, size, out, found, tt.want, tt.found)
			}
			if js && !json.Valid([]byte(out)) {
				t.Errorf("%s, by %d: no longer JSON: %s", tt.name, size, out)
			}
			if out, again := find(tt.text, size, js, leakCount); out != tt.text || fmt.Sprint(again) != tt.found {
				t.Errorf("%s, by %d: counting changed %q, %v", tt.name, size, out, again)
			}
		}
	}
}

// TestRandomNumbers: numbers that mean something else are seldom taken for EGN,
// also where the word stands.
func TestRandomNumbers(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("Търсене по ЕГН не е възможно. " + strings.Repeat("Списък на преписките по номер. ", 10) + "\n")
	x := uint64(1)
	for range 10_000 {
		x = x*6364136223846793005 + 1442695040888963407
		fmt.Fprintf(&b, "номер %010d от деловодството;\n", x>>20%10_000_000_000)
	}
	if _, found := find(b.String(), 1000, false, leakMask); found["egn"] > 1 {
		t.Errorf("%d of 10,000", found["egn"])
	}
}

// leaking is a route whose upstream answers with text.
func leaking(t *testing.T, p *Leaks, r *http.Request, answer http.HandlerFunc) (*httptest.ResponseRecorder, *Record, Env) {
	t.Helper()
	env := testEnv(t)
	f, err := p.Build(env)
	if err != nil {
		t.Fatal(err)
	}
	rec := &Record{ID: "id", Path: r.URL.Path}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		f(answer).ServeHTTP(&response{ResponseWriter: w, rec: rec}, r.WithContext(WithRecord(r.Context(), rec)))
	}()
	return w, rec, env
}

// TestLeaks: each action does what it says, to text and to nothing else.
func TestLeaks(t *testing.T) {
	t.Parallel()
	const secret = `{"egn":"7501020018","n":1}`
	answer := func(kind, coding, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "identity" {
				t.Errorf("asked for %q", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Type", kind)
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			if coding != "" {
				w.Header().Set("Content-Encoding", coding)
			}
			io.WriteString(w, body)
		}
	}
	for _, tt := range []struct {
		name   string
		action leakAction
		answer http.HandlerFunc
		status int
		body   string
		count  float64
	}{
		{"count", leakCount, answer("application/json", "", secret), 200, secret, 1},
		{"mask", leakMask, answer("application/json", "", secret), 200, `{"egn":"**********","n":1}`, 1},
		{"block", leakBlock, answer("application/json", "", secret), 502, "", 1},
		{"nothing to block", leakBlock, answer("application/json", "", `{}`), 200, `{}`, 0},
		{"not text", leakBlock, answer("image/png", "", secret), 200, secret, 0},
		{"compressed, counted", leakCount, answer("text/plain", "gzip", secret), 200, secret, 0},
		{"compressed, masked", leakMask, answer("text/plain", "gzip", secret), 502, "", 0},
		{"compressed, but not text", leakBlock, answer("application/zip", "gzip", secret), 200, secret, 0},
	} {
		r := get("/")
		r.Header.Set("Accept-Encoding", "gzip")
		r.Header.Set("Accept", "application/json")
		w, rec, env := leaking(t, &Leaks{EGN: tt.action}, r, tt.answer)
		if w.Code != tt.status || tt.status == 200 && w.Body.String() != tt.body || strings.Contains(w.Body.String(), "7501020018") && tt.status != 200 {
			t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
		}
		if tt.status == 502 && (rec.Denial == nil || rec.Denial.By != "leaks" || w.Header().Get("ETag") != "") {
			t.Errorf("%s: %+v %v", tt.name, rec.Denial, w.Header())
		}
		if tt.name == "mask" && (w.Header().Get("ETag") != `W/"1"` || w.Header().Get("Content-Length") != fmt.Sprint(len(secret))) {
			t.Errorf("%s: %v", tt.name, w.Header())
		}
		if n := testutil.ToFloat64(env.Engines.leaked.WithLabelValues("parcels", "egn", string(tt.action))); n != tt.count {
			t.Errorf("%s: %v were counted", tt.name, n)
		}
	}
	if f, err := (&Leaks{}).Build(testEnv(t)); f != nil || err != nil {
		t.Error("nothing to look for makes a handler")
	}
}

// TestLeaksOff: nothing is looked at where nothing is looked for.
func TestLeaksOff(t *testing.T) {
	t.Parallel()
	for _, p := range []*Leaks{nil, {}, {EGN: "off"}, {EGN: "off", StackTrace: "off"}} {
		if f, err := p.Build(testEnv(t)); f != nil || err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestLeaksLate: what is found after the response has begun breaks it off.
func TestLeaksLate(t *testing.T) {
	t.Parallel()
	w, rec, _ := leaking(t, &Leaks{EGN: leakBlock}, get("/"), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, strings.Repeat("много текст ", 4000))
		io.WriteString(w, "ЕГН 7501020018 и още")
		t.Error("the response went on")
	})
	if w.Code != 200 || strings.Contains(w.Body.String(), "7501020018") || rec.Denial == nil {
		t.Errorf("%d, %d bytes, %+v", w.Code, w.Body.Len(), rec.Denial)
	}
}

// TestLeaksStream: events leave as they come, and nothing is held but what may be
// the beginning of a number.
func TestLeaksStream(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	env := testEnv(t)
	f, err := (&Leaks{EGN: leakBlock, Card: leakMask}).Build(env)
	if err != nil {
		t.Fatal(err)
	}
	rec := &Record{ID: "id"}
	r := get("/")
	f(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Content-Type", "text/event-stream")
		out.WriteHeader(200)
		http.NewResponseController(out).Flush()
		if !w.Flushed {
			t.Error("the head did not leave")
		}
		for n := range 100 {
			fmt.Fprintf(out, "data: %d\n\n", n)
			http.NewResponseController(out).Flush()
			if !strings.HasSuffix(w.Body.String(), fmt.Sprintf("data: %d\n\n", n)) {
				t.Fatalf("event %d did not leave: %q", n, w.Body)
			}
		}
	})).ServeHTTP(&response{ResponseWriter: w, rec: rec}, r.WithContext(WithRecord(r.Context(), rec)))
}

// TestLeaksMemory: a long response costs a bounded amount of memory.
func TestLeaksMemory(t *testing.T) {
	t.Parallel()
	f := &leakFinder{found: func(leakKind) {}}
	for k := range f.kinds {
		f.kinds[k] = leakMask
	}
	for _, piece := range []string{strings.Repeat("a", leakPiece), strings.Repeat("1", leakPiece), strings.Repeat("1111 ", leakPiece/5), strings.Repeat("AB12", leakPiece/4), strings.Repeat("\tat ", leakPiece/4)} {
		for range 200 {
			f.feed([]byte(piece), false)
			if cap(f.b) > 8*leakPiece {
				t.Fatalf("%d bytes for pieces of %q", cap(f.b), piece[:8])
			}
		}
	}
}

func BenchmarkLeaks(b *testing.B) {
	doc := []byte(strings.Repeat(`{"name":"Иван Иванов","date":"2026-01-02","number":1234567890,"place":[23.321876543,42.697708],"note":"обикновен текст"},`, 140)[:16<<10])
	f := &leakFinder{json: true, found: func(leakKind) {}}
	for k := range f.kinds {
		f.kinds[k] = leakMask
	}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		f.feed(doc, false)
	}
}

// FuzzLeaks: whatever a response holds and however it comes, all of it leaves, with
// as many bytes, and JSON stays JSON.
func FuzzLeaks(f *testing.F) {
	f.Add(`{"egn":"7501020018","x":"\\\" \u0415 4111 1111 1111 1111 \n\tat a.b.C(D.java:1)","n":4111111111111111}`, 3)
	f.Add("ЕГН 7501020018 BG80 BNBG 9661 1020 3456 78\nTraceback (most recent call last)\n\nx", 7)
	f.Fuzz(func(t *testing.T, text string, size int) {
		size = min(max(size, 1), 64)
		js := json.Valid([]byte(text))
		for _, n := range []int{size, len(text) + 1} {
			out, _ := find(text, n, js, leakMask)
			if len(out) != len(text) || js && !json.Valid([]byte(out)) {
				t.Errorf("by %d: %q became %q", n, text, out)
			}
		}
	})
}
