package gateway

import "crypto/fips140"

// fipsMode is the label value that says whether the Go Cryptographic Module
// works in its FIPS 140-3 mode.
func fipsMode() string {
	if fips140.Enabled() {
		return "on"
	}
	return "off"
}
