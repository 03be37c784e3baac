package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/vazel-gateway/vazel/gateway"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// incidentCommand explains a refusal by the number that the refused person has.
func incidentCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("incident", flag.ContinueOnError)
	admin := newAdminFlags(f)
	logFile := f.String("log", "", "an access or security log to search if the gateway does not know the incident (any more)")
	lang := f.String("lang", defaultLanguage(), "en or bg")
	asJSON := f.Bool("json", false, "print JSON")
	words, err := parseMixed(f, args, errs)
	if err != nil {
		return err
	}
	if len(words) != 1 || *lang != "en" && *lang != "bg" {
		fmt.Fprintln(errs, "usage: vazel incident ID|- [-config PATH | -admin ADDRESS] [-log FILE] [-lang en|bg] [-json]")
		return errUsage
	}
	text := words[0]
	if text == "-" { // a whole message with the number in it
		b, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
		if err != nil {
			return err
		}
		text = string(b)
	}
	id, err := parseIncidentID(text)
	if err != nil {
		return err
	}
	report := new(gateway.IncidentReport)
	err = admin.ask(ctx, http.MethodGet, "/-/incidents/"+id, report)
	if err != nil && *logFile != "" {
		return incidentFromLog(out, *logFile, id, *asJSON, err)
	}
	var answer *adminError
	if errors.As(err, &answer) && answer.status == http.StatusNotFound {
		return fmt.Errorf("incident %s is not known to the running gateway, or no longer; search a log with -log FILE", id)
	}
	if err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(report)
	}
	printIncident(out, report, *lang == "bg")
	return nil
}

// defaultLanguage is that of the terminal.
func defaultLanguage() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			if strings.HasPrefix(v, "bg") {
				return "bg"
			}
			break
		}
	}
	return "en"
}

// parseIncidentID finds the number in what people paste: with spaces, in capitals, as
// a URN, or with a sentence around it.
func parseIncidentID(s string) (string, error) {
	if id := incidentPattern.FindString(strings.ToLower(s)); id != "" {
		return id, nil
	}
	return "", fmt.Errorf("%q holds no incident number, which has 32 digits and letters from a to f", short(s, 60))
}

var incidentPattern = regexp.MustCompile(`\b[0-9a-f]{32}\b`)

// captions of what is printed, English and Bulgarian.
var incidentCaptions = map[string][2]string{
	"refused": {"refused", "отказана"}, "would": {"let through in mode detect with %d; otherwise refused with %d", "пропусната в режим detect с %d; иначе отказана с %d"}, "with": {"with", "с"}, "who": {"who", "кой"}, "what": {"what", "какво"}, "why": {"why", "защо"}, "told": {"the caller was told", "казано на повикващия"},
	"anonymous": {"a caller without a proven organization", "повикващ без доказана организация"}, "claimed": {"its certificate names", "удостоверението му посочва"}, "from": {"from", "от"},
	"service": {"service", "услуга"}, "route": {"route", "маршрут"}, "limit": {"limit", "ограничение"}, "rules": {"what matched", "какво съвпадна"}, "score": {"score", "резултат"},
	"decided": {"decided by", "решено от"}, "advice": {"what to change", "какво да се промени"}, "paste": {"exclusion to paste into the service or route", "изключение за поставяне в услугата или маршрута"},
	"upstream": {"upstream", "сървър"}, "builtin": {"built in", "вградено"}, "time": {"when", "кога"}, "also": {"also in", "също в"},
	"further": {"and %d more, which the exclusion covers", "и още %d, които изключението обхваща"},
	"more":    {"and %d more, for which another exclusion may be needed", "и още %d, за които може да е нужно друго изключение"},
}

// printIncident prints a report in one language.
func printIncident(out io.Writer, r *gateway.IncidentReport, bulgarian bool) {
	n := 0
	if bulgarian {
		n = 1
	}
	word := func(key string) string { return incidentCaptions[key][n] }
	in := func(b gateway.Bilingual) string { return [2]string{b.English, b.Bulgarian}[n] }
	line := func(key, format string, args ...any) {
		fmt.Fprintf(out, "%-20s %s\n", word(key)+":", printable(fmt.Sprintf(format, args...)))
	}
	i := r.Incident
	if i.Detected {
		fmt.Fprintf(out, "%s: "+word("would")+"\n", i.ID, i.Answered, i.Status)
	} else {
		fmt.Fprintf(out, "%s: %s %s %d\n", i.ID, word("refused"), word("with"), i.Status)
	}
	line("time", "%s", i.Time.Format("2006-01-02 15:04:05 MST"))
	who := word("anonymous")
	if i.Organization != "" {
		who = i.Organization + " (" + i.OrgName + ")"
	} else if i.Claimed != "" {
		who += "; " + word("claimed") + " " + i.Claimed
	}
	if i.Network != "" {
		who += ", " + word("from") + " " + i.Network
	}
	line("who", "%s", who)
	line("what", "%s https://%s%s", i.Method, i.Host, i.Path)
	if i.Service != "" {
		line("service", "%s", i.Service)
	}
	if i.Route != "" && i.Route != i.Service {
		line("route", "%s", i.Route)
	}
	why := i.By + ": " + i.Reason
	if i.Detail != "" {
		why += " (" + i.Detail + ")"
	}
	line("why", "%s", why)
	if !i.Detected {
		line("told", "%s", in(r.Told))
	}
	if i.Policy != "" {
		line("limit", "%s", i.Policy)
	}
	if i.Upstream != "" {
		line("upstream", "%s %s", i.Upstream, i.Error)
	}
	if s := i.Inspection; s != nil && len(s.Matches) > 0 {
		c := waf.CategoryWords(s.Category)
		fmt.Fprintf(out, "%s (%s %d, %s):\n", word("rules"), word("score"), s.Score, in(gateway.Bilingual{English: c.English, Bulgarian: c.Bulgarian}))
		for k, m := range s.Matches {
			fmt.Fprintf(out, "  %d  %s\n", m.Rule, in(r.Rules[k].Bilingual))
			fmt.Fprintf(out, "          %s = %q\n", printable(m.Where), m.Part)
			if len(m.Also) > 0 {
				fmt.Fprintf(out, "          %s %s\n", word("also"), printable(strings.Join(m.Also, ", ")))
			}
			if m.Message != "" {
				fmt.Fprintf(out, "          (%s)\n", printable(m.Message))
			}
		}
		if n := len(s.Further); n > 0 {
			fmt.Fprintf(out, "  "+word("further")+"\n", n)
		}
		if s.More > 0 {
			fmt.Fprintf(out, "  "+word("more")+"\n", s.More)
		}
	}
	if len(i.Decided) > 0 {
		fmt.Fprintln(out, word("decided")+":")
		for _, d := range i.Decided {
			fmt.Fprintln(out, "  "+decidingLine(d, word("builtin")))
		}
	}
	fmt.Fprintf(out, "%s: %s\n", word("advice"), in(r.Advice))
	if r.Exclusion != "" {
		fmt.Fprintf(out, "%s:\n%s", word("paste"), indent(r.Exclusion))
	}
}

// decidingLine is one line of the configuration.
func decidingLine(d middleware.Deciding, builtin string) string {
	s := d.Key
	if d.Value != "" {
		s += ": " + d.Value
	}
	if d.File == "" {
		return fmt.Sprintf("%s  (%s)", s, builtin)
	}
	return fmt.Sprintf("%s:%d  %s  (%s)", d.File, d.Line, s, d.From)
}

func indent(s string) string {
	return "  " + strings.TrimSuffix(strings.ReplaceAll(s, "\n", "\n  "), "  ")
}

// incidentFromLog prints the lines of a log file that tell of an incident. Each
// field of a line of JSON has a line of its own.
func incidentFromLog(out io.Writer, file, id string, asJSON bool, asked error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	found := false
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) { // no line of ours
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			line = nil
		}
		if bytes.Contains(line, []byte(id)) {
			found = true
			printLogLine(out, line, asJSON)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%w; and %s does not tell of it either", asked, file)
	}
	return nil
}

func printLogLine(out io.Writer, line []byte, asJSON bool) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	start, err := d.Token()
	if asJSON || err != nil || start != json.Delim('{') {
		out.Write(append(bytes.TrimRight(line, "\n"), '\n'))
		return
	}
	for d.More() { // in the order of the line
		key, err := d.Token()
		if err != nil {
			return
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return
		}
		text := string(value)
		var s string
		if json.Unmarshal(value, &s) == nil {
			text = printable(s)
		}
		fmt.Fprintf(out, "%-34v %s\n", key, text)
	}
	fmt.Fprintln(out)
}
