package sluice

import "github.com/sluice-go/sluice/internal/driver"

func testSystems() []driver.System { return nil }
