package sock

import "testing"

func TestWriterLetsGoOfWhatItWrote(t *testing.T) {
	a, b := connectedPair(t)
	var w Writer
	if _, _, err := w.Write(a, [][]byte{{1}, {2}, {3}}); err != nil {
		t.Fatal(err)
	}
	drain(t, b)
	for i, piece := range w.vector[:cap(w.vector)] {
		if piece.Base != nil {
			t.Errorf("piece %d is still referred to", i)
		}
	}
}
