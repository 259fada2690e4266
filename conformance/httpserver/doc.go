// Package httpserver holds HTTP servers to each other: net/http's and Sluice's
// httpd answer the same requests through the same handlers, frameworks, proxies
// and clients, and every difference is listed with its reason. It holds tests
// and nothing to import.
//
// Some tests run programs (curl, wrk, ab, slowhttptest, nginx, haproxy). Where
// one is not installed its test is skipped, unless SLUICE_REQUIRE_TOOLS=1.
package httpserver
