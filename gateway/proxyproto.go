package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol, versions 1 and 2, as HAProxy's specification
// (proxy-protocol.txt, 2020/03/05) defines it.

var (
	proxyV1 = []byte("PROXY ")
	proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// maxProxyHeader bounds a version 2 header with its extensions (TLVs); what we
// need is in its first 52 bytes.
const maxProxyHeader = 4096

var errProxyHeader = errors.New("malformed PROXY protocol header")

// readProxyHeader reads a PROXY header if one comes first. It returns the
// client's address, or the zero value where the header names none (LOCAL,
// UNKNOWN) or none came. It reads nothing beyond the header.
func readProxyHeader(br *bufio.Reader) (src netip.AddrPort, err error) {
	first, err := br.Peek(1)
	if err != nil {
		return src, err
	}
	switch first[0] {
	case proxyV1[0]:
		if p, err := br.Peek(len(proxyV1)); err != nil || !bytes.Equal(p, proxyV1) {
			return src, nil // whatever this is, it is for the next layer to refuse
		}
		return readProxyV1(br)
	case proxyV2[0]:
		if p, err := br.Peek(len(proxyV2)); err != nil || !bytes.Equal(p, proxyV2) {
			return src, nil
		}
		return readProxyV2(br)
	}
	return src, nil
}

func readProxyV1(br *bufio.Reader) (src netip.AddrPort, err error) {
	var line []byte
	for len(line) < 2 || line[len(line)-1] != '\n' {
		if len(line) == 107 { // the longest line that version 1 allows
			return src, fmt.Errorf("%w: line too long", errProxyHeader)
		}
		c, err := br.ReadByte()
		if err != nil {
			return src, err
		}
		line = append(line, c)
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	f := strings.Split(text, " ")
	if !ok || len(f) < 2 {
		return src, errProxyHeader
	}
	if f[1] == "UNKNOWN" {
		return src, nil
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return src, errProxyHeader
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		a, err := netip.ParseAddr(f[2+i])
		if err != nil || a.Is4() != (f[1] == "TCP4") || a.Zone() != "" {
			return src, fmt.Errorf("%w: bad address", errProxyHeader)
		}
		p, err := strconv.ParseUint(f[4+i], 10, 16)
		if err != nil || strconv.FormatUint(p, 10) != f[4+i] {
			return src, fmt.Errorf("%w: bad port", errProxyHeader)
		}
		ends[i] = netip.AddrPortFrom(a.Unmap(), uint16(p))
	}
	return ends[0], nil
}

func readProxyV2(br *bufio.Reader) (src netip.AddrPort, err error) {
	var head [16]byte
	if _, err := io.ReadFull(br, head[:]); err != nil {
		return src, err
	}
	n := int(binary.BigEndian.Uint16(head[14:]))
	if n > maxProxyHeader {
		return src, fmt.Errorf("%w: %d bytes", errProxyHeader, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(br, body); err != nil {
		return src, err
	}
	if head[12]>>4 != 2 {
		return src, fmt.Errorf("%w: version %d", errProxyHeader, head[12]>>4)
	}
	switch head[12] & 15 {
	case 0: // LOCAL: the proxy speaks for itself
		return src, nil
	case 1: // PROXY
	default:
		return src, fmt.Errorf("%w: command %d", errProxyHeader, head[12]&15)
	}
	switch head[13] {
	case 0x11: // TCP over IPv4
		if n < 12 {
			return src, errProxyHeader
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[:4])), binary.BigEndian.Uint16(body[8:])), nil
	case 0x21: // TCP over IPv6
		if n < 36 {
			return src, errProxyHeader
		}
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[:16])).Unmap(), binary.BigEndian.Uint16(body[32:])), nil
	case 0x00: // unspecified
		return src, nil
	}
	return src, fmt.Errorf("%w: protocol %#x", errProxyHeader, head[13])
}
