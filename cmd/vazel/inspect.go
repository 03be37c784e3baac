package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
)

// inspected is what is said of one certificate.
type inspected struct {
	File                   string             `json:"file"`
	Subject                string             `json:"subject"`
	Issuer                 string             `json:"issuer"`
	Serial                 string             `json:"serial"`
	SHA256                 string             `json:"sha256"`
	SPKI                   string             `json:"spki"`
	NotBefore              time.Time          `json:"not_before"`
	NotAfter               time.Time          `json:"not_after"`
	OrganizationIdentifier string             `json:"organization_identifier,omitempty"`
	Names                  []string           `json:"names,omitempty"`
	Usages                 []string           `json:"usages,omitempty"`
	Organization           string             `json:"organization,omitempty"` // proven
	By                     string             `json:"by,omitempty"`           // the identifier that proves it
	Reason                 certs.Reason       `json:"reason,omitempty"`       // why none is
	Detail                 string             `json:"detail,omitempty"`
	Claimed                string             `json:"claimed,omitempty"`
	Authorities            []string           `json:"authorities,omitempty"`
	Revocation             []certs.ListStatus `json:"revocation,omitempty"`
	MayCall                []config.Access    `json:"may_call,omitempty"`
	Advice                 string             `json:"advice,omitempty"`

	text string
}

// inspectCommand says what certificates would prove to a gateway with this
// configuration. It fails if one of them proves nothing.
func inspectCommand(_ context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("certs inspect", flag.ContinueOnError)
	path := configFlag(f)
	state := f.String("state", "", "the gateway's state folder, for revocation lists that it keeps; default: as for run")
	asJSON := f.Bool("json", false, "print JSON")
	files, err := parseMixed(f, args, errs)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		fmt.Fprintln(errs, "usage: vazel certs inspect [-config PATH] [-json] FILE...   (PEM or DER; - is standard input)")
		return errUsage
	}
	t, err := loadTrust(*path, *state)
	if err != nil {
		return t.explain(err, errs)
	}
	all := []inspected{}
	failed := false
	for _, name := range files {
		b, err := readFile(name)
		if err != nil {
			return err
		}
		reports, err := t.set.Inspect(b, time.Now())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, r := range reports {
			all = append(all, t.inspected(name, r))
			failed = failed || r.Identity.Reason != ""
		}
	}
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(all); err != nil {
			return err
		}
	} else {
		for i, c := range all {
			if i > 0 {
				fmt.Fprintln(out)
			}
			c.print(out)
		}
	}
	if failed {
		return errFailed
	}
	return nil
}

func (t trust) inspected(file string, r certs.Report) inspected {
	c := inspected{
		File: file, Subject: r.Subject, Issuer: r.Issuer, Serial: r.Serial, SHA256: r.SHA256, SPKI: r.Pin, NotBefore: r.NotBefore.UTC(), NotAfter: r.NotAfter.UTC(),
		OrganizationIdentifier: r.OrganizationIdentifier, Names: r.Names, Usages: r.Usages, Organization: r.Identity.Organization, Reason: r.Identity.Reason,
		Detail: r.Identity.Detail, Claimed: r.Identity.Claimed, Authorities: r.Authorities, Revocation: r.Lists, text: r.String(),
	}
	if c.Reason == "" {
		c.By = r.Identity.ID
		c.MayCall = t.config.AccessOf(c.Organization)
		return c
	}
	c.Advice = advice(c)
	return c
}

// advice says what would mend it.
func advice(c inspected) string {
	switch c.Reason {
	case certs.UnknownCA:
		return "put the certificate of the authority that issued it (" + c.Issuer + ") into ca of the organization, or send the intermediates along"
	case certs.Expired:
		return "the organization needs a new certificate"
	case certs.NotYetValid:
		return "wait, or check the clocks: vazel doctor"
	case certs.ServerOnly, certs.WrongUsage:
		return "ask the authority for a certificate for client authentication; or, if it issues none, write eku: any for the organization"
	case certs.WrongOrganization:
		if c.Claimed != "" {
			return "add the issuing authority to ca of organization " + c.Claimed + " if it is meant to speak for it"
		}
		who := strings.Join(c.Authorities, ", ")
		if c.OrganizationIdentifier != "" {
			return fmt.Sprintf("its authority is one of %s, but no organization there has the id %q", who, c.OrganizationIdentifier)
		}
		return fmt.Sprintf("its authority is one of %s, but the certificate has no organizationIdentifier; recognize it by subject or san, or ask for another one", who)
	case certs.AgreementExpired:
		return "renew the agreement and set valid_until of organization " + c.Claimed
	case certs.Revoked:
		return "the authority took the certificate back; the organization needs a new one"
	case certs.RevocationUnknown:
		return "a running gateway fetches the list; see vazel doctor and vazel orgs"
	}
	return ""
}

func (c inspected) print(out io.Writer) {
	fmt.Fprintf(out, "%s\n%s", printable(c.File), c.text)
	if c.Advice != "" {
		fmt.Fprintf(out, "%-24s %s\n", "advice:", printable(c.Advice))
	}
	for i, a := range c.MayCall {
		title := ""
		if i == 0 {
			title = "may call:"
		}
		fmt.Fprintf(out, "%-24s %s\n", title, accessWords(a))
	}
	if c.Reason == "" && len(c.MayCall) == 0 {
		fmt.Fprintf(out, "%-24s %s\n", "may call:", "nothing that asks for a certificate: no allow names it")
	}
}

func accessWords(a config.Access) string {
	s := a.Service
	if a.Route != a.Service {
		s += ", route " + a.Route
	}
	s += ": https://" + strings.Join(a.Hosts, ", https://")
	if len(a.Paths) > 0 {
		s += " " + strings.Join(a.Paths, " ")
	}
	if len(a.Methods) > 0 {
		s += " (" + strings.Join(a.Methods, " ") + ")"
	}
	return s
}

// parseMixed reads flags that may stand before, between and after arguments.
func parseMixed(f *flag.FlagSet, args []string, errs io.Writer) (rest []string, err error) {
	f.SetOutput(errs)
	for {
		if err := f.Parse(args); err != nil {
			return nil, errUsage
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		if used := len(args) - f.NArg(); used > 0 && args[used-1] == "--" {
			return append(rest, f.Args()...), nil
		}
		rest = append(rest, f.Arg(0))
		args = f.Args()[1:]
	}
}
