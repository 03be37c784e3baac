// Package certs owns trust: the gateway's own certificates, the organizations
// and how a client certificate proves one of them, and what TLS offers. It
// does not decide what a proven organization may do; that is policy, in
// package middleware.
//
// A Manager lives as long as the process. Each configuration makes an
// immutable Set from it, which answers handshakes and identifies clients.
package certs

import (
	"github.com/vazel-gateway/vazel/config/unit"
)

// MTLS says whether a host asks its clients for a certificate.
type MTLS string

// The values of MTLS. The zero value is MTLSOff.
const (
	MTLSOff      MTLS = "off"
	MTLSOptional MTLS = "optional" // asked for; routes with allow insist
	MTLSRequired MTLS = "required" // every request must prove an allowed organization
)

// Organization is one caller that the gateway can recognize: a set of
// certification authorities and the identifier that a certificate from one of
// them must carry. Both must fit.
type Organization struct {
	// Name is the organization's name for people: in error pages, dashboards and logs.
	Name string `yaml:"name"`
	// ID is the organizationIdentifier (OID 2.5.4.97, ETSI EN 319 412-1) that the certificate's subject must carry, such as NTRBG-100000001; or a list of them. Compared byte for byte.
	ID unit.List `yaml:"id"`
	// Subject demands exact values of subject attributes, for certificates without an organizationIdentifier.
	Subject *SubjectMatch `yaml:"subject"`
	// SAN lists patterns of which one subject alternative name must fit: "dns:*.nra.example", "uri:urn:egov:nra:*", "email:*@nra.example". A * stands for one or more characters other than a dot (dns), slash or colon (uri) or @ (email).
	SAN unit.List `yaml:"san"`
	// SPKI lists pins of which the certificate's public key must be one, whatever else it says: sha256/ and the base64 of the SHA-256 of the key's SubjectPublicKeyInfo.
	SPKI unit.List `yaml:"spki"`
	// EKU is client (the certificate must be for client authentication) or any (a certificate that is for servers only counts as well, as public authorities issue them from 2027); default: client.
	EKU string `yaml:"eku"`
	// QC demands qualified statements (ETSI EN 319 412-5) of the certificate.
	QC *QC `yaml:"qc"`
	// CA is the PEM file, or files, of the certification authorities whose certificates count for this organization.
	CA unit.List `yaml:"ca"`
	// CRL is the revocation list of the organization's certification authority; or a list of them, one for each authority of the chain.
	CRL CRLs `yaml:"crl"`
	// OCSP asks a responder whether a certificate is revoked, instead of crl or beside it: one of them that knows the certificate to be good is enough, and one that says revoked.
	OCSP *OCSP `yaml:"ocsp"`
	// Revocation says what happens while the revocation list or the responder's answer is stale or missing; default: every certificate of the organization is refused with revocation_unavailable.
	Revocation *Revocation `yaml:"revocation"`
	// ValidUntil is the last day of the data exchange agreement; from the next day (UTC) every request is refused with agreement_expired.
	ValidUntil unit.Date `yaml:"valid_until"`
}

// SubjectMatch lists subject attributes that must each occur exactly once with exactly this value.
type SubjectMatch struct {
	// CN is the common name.
	CN string `yaml:"cn"`
	// O is the organization name.
	O string `yaml:"o"`
	// OU is the organizational unit.
	OU string `yaml:"ou"`
	// C is the country.
	C string `yaml:"c"`
	// SerialNumber is the subject's serialNumber attribute (not the certificate's serial).
	SerialNumber string `yaml:"serial_number"`
}

// QC lists what a certificate must state of itself as a qualified one.
type QC struct {
	// Compliance demands the statement QcCompliance.
	Compliance bool `yaml:"compliance"`
	// Type demands the statement QcType: esign, eseal or web.
	Type string `yaml:"type"`
}

// CRLs is one CRL or a list of them.
type CRLs []CRL

// OneOrMany says that a list of one may be written without brackets.
func (CRLs) OneOrMany() {}

// CRL says where a certificate revocation list comes from.
type CRL struct {
	// URL is where the list is fetched from, over http or https.
	URL string `yaml:"url"`
	// File is where the list is read from instead; a change of the file acts within a second.
	File string `yaml:"file"`
	// Issuer is the PEM file of the intermediate authority that signs the list, where it is not one of ca itself; it has to be issued below them.
	Issuer string `yaml:"issuer"`
	// MaxAge is how long ago the list may have been got last, or its file changed, before it counts as stale; default: until its nextUpdate, which always ends it.
	MaxAge unit.Duration `yaml:"max_age"`
}

// OCSP says who is asked for the status of single certificates. Answers are fetched in the background and renewed while certificates are in use; only the first request of a certificate waits for one, for 2 seconds at most.
type OCSP struct {
	// URL is the responder that is asked, over http or https.
	URL string `yaml:"url"`
	// FromCertificate asks the responder that each certificate names (authorityInfoAccess) instead, if its address is public.
	FromCertificate bool `yaml:"from_certificate"`
	// MaxAge is how long ago the answer may have been got before it counts as stale; default: until its nextUpdate, which always ends it. An answer without nextUpdate counts for an hour.
	MaxAge unit.Duration `yaml:"max_age"`
}

// Revocation is the policy for certificates whose revocation status is not known. A certificate that is known to be revoked is refused in every mode.
type Revocation struct {
	// Mode is require (refuse while there is no fresh list or answer), grace (go by a stale one for some time, refuse without any) or observe (never refuse for want of one, only count and log); default: require.
	Mode string `yaml:"mode"`
	// Grace is how long after it became stale a list or answer still counts in mode grace; default: 24h.
	Grace unit.Duration `yaml:"grace"`
}

// KeyPair is a certificate chain and its private key.
type KeyPair struct {
	// Cert is the PEM file with the certificate, followed by its intermediates.
	Cert string `yaml:"cert"`
	// Key refers to the PEM private key, as ${file:PATH} or ${env:NAME}.
	Key unit.Secret `yaml:"key"`
}

// ACME is the authority from which certificates are obtained for the configured hosts that no certificate file covers. Nothing else is ever asked for.
type ACME struct {
	// Directory is the URL of the ACME directory.
	Directory string `yaml:"directory"`
	// Email is the contact that the authority may write to.
	Email string `yaml:"email"`
	// CA is a PEM file with the root of the directory's own certificate, for a private authority; default: the system's roots.
	CA string `yaml:"ca"`
	// EAB binds the account to one that the authority already knows (RFC 8555, 7.3.4), if it demands that.
	EAB EAB `yaml:"eab"`
	// Profile is the authority's name for the kind of certificate that is asked for; default: the authority's own choice. A change counts from the next renewal.
	Profile string `yaml:"profile"`
	// Challenges are the ways in which the authority may be shown that a host is ours: http-01 (needs a listener with redirect: https that is reached on port 80), tls-alpn-01 (needs a listener that is reached on port 443) and dns-01 (needs dns). With others beside it dns-01 is used for wildcard hosts only, which nothing else can prove; alone it is used for every host. Default: http-01 and tls-alpn-01, and dns-01 if dns is set.
	Challenges []string `yaml:"challenges"`
	// DNS is how dns-01 writes its records.
	DNS *ACMEDNS `yaml:"dns"`
	// Storage is the folder of accounts and certificates, which several nodes may share: one of them renews, all of them serve. The word redis stands for the server of store, where they lie encrypted with storage_key. Default: acme below $STATE_DIRECTORY, or below the configuration's folder.
	Storage string `yaml:"storage"`
	// StorageKey refers to the keys that encrypt what storage: redis keeps, as ${file:PATH} or ${env:NAME}: one AES-256 key of 32 bytes in base64 a line. The first encrypts, all decrypt, so a new key is put in front of the former one, on every node before the first one is removed. All nodes need the same. A systemd credential is a file below /run/credentials.
	StorageKey unit.Secret `yaml:"storage_key"`
}

// ACMEDNS is how the record of a DNS-01 challenge comes into the zone.
type ACMEDNS struct {
	// RFC2136 writes the record by a dynamic update of the zone's primary server.
	RFC2136 *RFC2136 `yaml:"rfc2136"`
	// Check lists servers, as host:port, that must show the record before the authority is told to look, such as the zone's secondaries; default: only the server that was updated.
	Check []string `yaml:"check"`
	// Timeout is how long to wait for that; default: 2m.
	Timeout unit.Duration `yaml:"timeout"`
}

// RFC2136 is a name server that takes dynamic updates (RFC 2136), signed with TSIG (RFC 8945).
type RFC2136 struct {
	// Server is the zone's primary name server, as host:port.
	Server string `yaml:"server"`
	// Zone is the zone that holds the records; default: what the server says.
	Zone string `yaml:"zone"`
	// KeyName is the name of the TSIG key.
	KeyName string `yaml:"key_name"`
	// Algorithm is that of the key: hmac-sha256, hmac-sha384 or hmac-sha512; default: hmac-sha256.
	Algorithm string `yaml:"algorithm"`
	// Secret refers to the TSIG key, in base64, as ${file:PATH} or ${env:NAME}.
	Secret unit.Secret `yaml:"secret"`
}

// EAB is an external account binding.
type EAB struct {
	// KeyID is the identifier that the authority gave.
	KeyID string `yaml:"key_id"`
	// HMACKey refers to the key that the authority gave, in base64url, as ${file:PATH} or ${env:NAME}.
	HMACKey unit.Secret `yaml:"hmac_key"`
}

// TLS is what the gateway offers and serves on its listeners.
type TLS struct {
	// Profile is the set of versions, suites and groups: modern, intermediate, ncsc-nl-2025-05 or bsi-tr-02102-2; default: intermediate. What each holds stands in security.md.
	Profile string `yaml:"profile"`
	// MLKEM1024 also offers the post-quantum key exchange SecP384r1MLKEM1024, which costs a client and the gateway several times as much as the others; default: false.
	MLKEM1024 bool `yaml:"mlkem1024"`
	// Certificates are server certificates from files; the one whose names cover the host is served. The first one is also served to clients that send no server name.
	Certificates []KeyPair `yaml:"certificates"`
	// ACME obtains certificates for the hosts that no file covers.
	ACME *ACME `yaml:"acme"`
}
