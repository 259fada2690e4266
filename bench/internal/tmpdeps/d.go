package tmpdeps

import (
	_ "github.com/gorilla/websocket"
	_ "github.com/lxzan/gws"
	_ "github.com/schollz/progressbar/v3"
	_ "gonum.org/v1/plot"
	_ "gonum.org/v1/plot/plotter"
	_ "gonum.org/v1/plot/vg/vgimg"
	_ "gonum.org/v1/plot/vg/vgsvg"
	_ "google.golang.org/grpc"
)
