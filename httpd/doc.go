// Package httpd serves HTTP/1.x on the event loops of package sluice.
//
// A Server is used like net/http's and takes the same handlers. A connection
// costs a goroutine only while one of its requests is being handled; one that
// waits for its client costs about what an idle sluice.Conn does. TakeOver has a
// sluice.Handler serve it with another protocol, at the same price.
package httpd
