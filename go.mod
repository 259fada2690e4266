module github.com/sluice-go/sluice

go 1.26

require golang.org/x/sys v0.49.0
