//go:build race

package httpd_test

func init() { raceEnabled = true }
