module github.com/sluice-go/sluice

go 1.26.0

require golang.org/x/sys v0.49.0

require github.com/alecthomas/kong v1.17.0

require github.com/klauspost/compress v1.20.3
