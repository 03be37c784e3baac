//go:build !race

package middleware

const underRace = false
