// This file lets the compiler take functions without a body: see screened.go.
