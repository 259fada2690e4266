package servers

import (
	"strings"
	"testing"
)

func TestBodiesOfTheRightAnswers(t *testing.T) {
	for target, want := range map[string]string{
		PlainPath:              "Hello, World!",
		WorkPath + "?n=0":      "0\n.",
		WorkPath + "?n=5":      "10\n.",
		WorkPath + "?n=100000": "4999950000\n.",
	} {
		got, err := Body(target)
		if err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %.20q, %v, want %q", target, got, err, want)
		}
		if strings.HasPrefix(target, WorkPath) && len(got) != workSize {
			t.Errorf("%s: %d bytes", target, len(got))
		}
	}
	for _, target := range []string{"", "/", "plaintext", WorkPath, WorkPath + "?n=-1", WorkPath + "?n=x", WorkPath + "?n=1000000001"} {
		if got, err := Body(target); err == nil {
			t.Errorf("%q: no error, %.20q", target, got)
		}
	}
}
