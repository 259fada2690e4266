package servers

import "github.com/tidwall/evio"

func evioEcho(addr string) error {
	var events evio.Events
	events.NumLoops = Loops()
	events.LoadBalance = evio.RoundRobin // without, whichever loop wakes first takes the connection
	events.Serving = func(evio.Server) evio.Action {
		setNoDelay()
		return evio.None
	}
	events.Opened = func(evio.Conn) ([]byte, evio.Options, evio.Action) {
		// Data's answer is copied before the next read.
		return nil, evio.Options{ReuseInputBuffer: true}, evio.None
	}
	events.Data = func(_ evio.Conn, in []byte) ([]byte, evio.Action) {
		return in, evio.None
	}
	return evio.Serve(events, "tcp://"+addr)
}
