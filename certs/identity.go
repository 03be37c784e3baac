package certs

import "crypto/x509"

// Reason says, in one stable word, why a client's certificate does not let it in.
type Reason string

// The reasons for refusal. They are label values and problem types: they never change meaning.
const (
	NoClientCert      Reason = "no_client_cert"          // none was presented
	UnknownCA         Reason = "unknown_ca"              // no chain to a certification authority of any organization
	Expired           Reason = "expired"                 // after notAfter, of the leaf or of its chain
	NotYetValid       Reason = "not_yet_valid"           // before notBefore
	ServerOnly        Reason = "server_only_certificate" // for servers, and eku: any does not say that this is enough
	WrongUsage        Reason = "wrong_usage"             // not for client authentication
	WrongOrganization Reason = "wrong_organization"      // a trusted chain, but no organization has this identifier under this authority
	NotAllowed        Reason = "not_allowed"             // a known organization that this route does not allow
	AgreementExpired  Reason = "agreement_expired"       // a known organization after its valid_until
	Revoked           Reason = "revoked"
	RevocationUnknown Reason = "revocation_unavailable"
	BadCertificate    Reason = "bad_certificate" // unreadable, contradictory or too weak
)

// Identity is what a client certificate proved.
type Identity struct {
	// Organization is the configured key of the proven organization; empty
	// unless Reason is empty.
	Organization string
	// Claimed is the configured organization that the certificate names, also
	// where it did not prove it: the label of rejections. Empty if none.
	Claimed string
	// ID is the identifier that matched: an organizationIdentifier, or the
	// subject or SAN value.
	ID string
	// Reason says why no organization was proven; empty when one was.
	Reason Reason
	// Detail says more, for the log: never for metrics.
	Detail string
	// Passing says that the status of a certificate may become known at any
	// moment, without a new Epoch: the answer is not to be kept.
	Passing bool
	// Leaf is the certificate that was presented; nil if none.
	Leaf *x509.Certificate
	// Chain is the verified chain from the leaf, without the anchor; nil unless proven.
	Chain []*x509.Certificate
}
