package table

import (
	"strings"
	"testing"
)

func TestSpreadOf(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{7}, Spread{7, 7, 7}},
		{[]float64{3, 1, 2}, Spread{2, 1, 3}},
		{[]float64{4, 1, 3, 2}, Spread{2.5, 1, 4}},
	} {
		if got := SpreadOf(c.values); got != c.want {
			t.Errorf("SpreadOf(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestPrintAlignsColumns(t *testing.T) {
	var b strings.Builder
	err := Print(&b, []string{"server", "req/s", "notes"}, [][]string{
		{"bare", "100000", ""},
		{"µ, a longer name", "7", "slow"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "" +
		"server             req/s  notes\n" +
		"bare              100000\n" +
		"µ, a longer name       7  slow\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
