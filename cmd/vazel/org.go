package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/gateway"
)

// newcomer is the organization that a bundle is made for.
type newcomer struct {
	Key, Name, Contact, Support string
	IDs                         []string
	CAFile                      string // as given; "" if it is not known yet
	CA                          []byte
	ServerCA                    []byte // what the gateway's certificate chains to; nil if public or not known
	Public                      bool   // the system's roots are enough
	Include                     string // folder of drop-in files, relative to the configuration
	URLs                        []string
}

func orgCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) == 0 || args[0] != "add" {
		fmt.Fprintln(errs, "usage: vazel org add KEY -name NAME -id ID[,ID] [-ca FILE] [-contact TEXT] [-support TEXT] [-server-ca FILE] [-dir DIR] [-config PATH]")
		return errUsage
	}
	f := flag.NewFlagSet("org add", flag.ContinueOnError)
	path := configFlag(f)
	var n newcomer
	f.StringVar(&n.Name, "name", "", "name of the organization, for people")
	ids := f.String("id", "", "organizationIdentifier, such as NTRBG-100000001; several separated by commas")
	f.StringVar(&n.CAFile, "ca", "", "PEM file of the authorities that issue the organization's certificates, if they are known")
	f.StringVar(&n.Contact, "contact", "", "whom to call at the organization")
	f.StringVar(&n.Support, "support", "", "whom the organization calls; default: the contacts of the services' owners")
	serverCA := f.String("server-ca", "", "PEM file of the authority of the gateway's own certificate; default: looked for")
	dir := f.String("dir", "", "folder to make; default: KEY-onboarding")
	rest, err := parseMixed(f, args[1:], errs)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		fmt.Fprintln(errs, "vazel org add: write one KEY, the short name of the organization in the configuration")
		return errUsage
	}
	n.Key = rest[0]
	n.IDs = strings.FieldsFunc(*ids, func(r rune) bool { return r == ',' || r == ' ' })
	if err := n.check(); err != nil {
		return err
	}
	if n.CAFile != "" {
		if n.CA, err = os.ReadFile(n.CAFile); err != nil {
			return fmt.Errorf("ca: %w", err)
		}
	}
	if *dir == "" {
		*dir = n.Key + "-onboarding"
	}
	t, err := loadTrust(*path, "")
	if err != nil {
		return t.explain(err, errs)
	}
	if err := n.fits(t); err != nil {
		return err
	}
	if err := n.describe(t, *serverCA); err != nil {
		return err
	}
	files := n.files()
	if err := writeNew(*dir, files); err != nil {
		return err
	}
	for _, file := range files {
		fmt.Fprintln(out, filepath.Join(*dir, file.name))
	}
	fmt.Fprintf(out, "\nsend the folder %s to the organization; when its certificate is there:\n", filepath.Join(*dir, "organization"))
	step := 1
	say := func(format string, a ...any) {
		fmt.Fprintf(out, "%d. %s\n", step, fmt.Sprintf(format, a...))
		step++
	}
	if n.CA == nil {
		say("put the certificates of its authority into %s (ask them; not from a connection)", filepath.Join(*dir, "gateway", "pki", n.Key+"-ca.pem"))
	}
	say("copy what is in %s into %s", filepath.Join(*dir, "gateway"), t.config.Dir)
	say("name it in allow of the services that it may call, then: vazel check -config %s", *path)
	say("vazel certs inspect -config %s THEIR-CERTIFICATE", *path)
	return nil
}

var organizationKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// legalIdentifier is a form of ETSI EN 319 412-1, 5.1.4: kind of register,
// country, number; or one of the forms that administrations use beside it.
var legalIdentifier = regexp.MustCompile(`^(VAT|NTR|PSD|LEI|GOV|INT|EUI|TIN|EXC|[A-Z]{2}:)[A-Z]{2}-[A-Za-z0-9][A-Za-z0-9._/-]{0,100}$`)

var legalEntityIdentifier = regexp.MustCompile(`^LEIXG-[A-Z0-9]{18}[0-9]{2}$`)

func (n *newcomer) check() error {
	var all []error
	if !organizationKey.MatchString(n.Key) {
		all = append(all, fmt.Errorf("key %q: write letters, digits, - and _, such as nra", n.Key))
	}
	if n.Name == "" || !utf8.ValidString(n.Name) || len(n.Name) > 256 || printable(n.Name) != n.Name {
		all = append(all, errors.New("-name is missing, or not a name of at most 256 bytes"))
	}
	if len(n.IDs) == 0 {
		all = append(all, errors.New("-id is missing: the organizationIdentifier that its certificates carry, such as NTRBG-100000001"))
	}
	for _, id := range n.IDs {
		switch {
		case !legalIdentifier.MatchString(id):
			all = append(all, fmt.Errorf("-id %q is not an organizationIdentifier of ETSI EN 319 412-1: three letters for the register (NTR, VAT, LEI, PSD, GOV), two for the country, a hyphen and the number, such as NTRBG-100000001", id))
		case strings.HasPrefix(id, "LEI") && !legalEntityIdentifier.MatchString(id):
			all = append(all, fmt.Errorf("-id %q: a legal entity identifier is LEIXG- and 20 characters, of which the last two are digits", id))
		}
	}
	if printable(n.Contact) != n.Contact || printable(n.Support) != n.Support {
		all = append(all, errors.New("-contact and -support are one line of text"))
	}
	return errors.Join(all...)
}

// fits refuses an organization that the configuration could not tell from
// another one.
func (n *newcomer) fits(t trust) error {
	if _, ok := t.config.Callers[n.Key]; ok {
		return fmt.Errorf("organization %q is configured already", n.Key)
	}
	c := gateway.TrustOf(t.config)
	if n.CAFile != "" {
		c.Organizations = map[string]certs.Organization{n.Key: {Name: n.Name, ID: unit.List(n.IDs), CA: unit.List{n.CAFile}}}
		for key, o := range t.config.Trust {
			c.Organizations[key] = o
		}
		_, err := t.manager.Build(c)
		return err
	}
	for key, o := range t.config.Trust {
		for _, id := range n.IDs {
			if slices.Contains(o.ID, id) {
				return fmt.Errorf("organization %q has the id %s already; with -ca FILE it can be seen whether one certificate could prove both", key, id)
			}
		}
	}
	return nil
}

// newFile is a file of a bundle.
type newFile struct {
	name string
	mode fs.FileMode
	text []byte
}

// writeNew writes files into a folder, none of which may be there before.
func writeNew(dir string, files []newFile) error {
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f.name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already; nothing was written", filepath.Join(dir, f.name))
		}
	}
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		w, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, bytes.NewReader(f.text))
		if err := errors.Join(err, w.Close()); err != nil {
			return err
		}
	}
	return nil
}
