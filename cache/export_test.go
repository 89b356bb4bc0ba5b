package cache

import "net"

// Measured is open to tests, which bring it bytes in pieces of any size.
func Measured(c net.Conn) net.Conn { return &measured{Conn: c} }
