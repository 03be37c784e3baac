// Package freeport finds ports for tests that write a configuration before
// they start the program that listens.
package freeport

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
)

// The ports below those that Linux gives to outgoing connections and to port
// 0: nobody gets one of them by chance between Get and the test's own use.
const first, last = 10000, 32000

var given atomic.Int64

// Get is a port of 127.0.0.1 that nobody listens on, over TCP and UDP. It
// gives none twice, and where it begins differs from process to process.
func Get() (int, error) {
	for range 100 {
		port := first + (os.Getpid()*397+int(given.Add(1)))%(last-first)
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		l.Close()
		if err != nil {
			continue
		}
		u.Close()
		return port, nil
	}
	return 0, errors.New("no free port among 100 tried")
}
