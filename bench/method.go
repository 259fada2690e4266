package main

// method is what the report says of how the figures came about.
var method = []string{
	"Every server is a process of its own, bound to its cores, with as many event loops (or GOMAXPROCS) as it has cores; every client is another process on a core of its own. All of it goes over loopback.",
	"A server is started anew for each run. The order of the servers is drawn anew in each round; all values are medians over the rounds, ratios are made between runs of the same round.",
	"The loop is closed: a connection sends its next request when the whole answer to the one before has come back. So with n requests on the way the mean latency is n divided by the rate; latency and rate are two sides of one thing.",
	"Every answer is compared byte by byte: with the message that was sent, or, over HTTP, with the head that the server gave first (its Date apart) and the body that was asked for. A wrong byte, a surplus byte and a closed connection count as errors.",
	"Before the measured time every connection has made one exchange, and all have been busy for the warm-up. Requests are those answered in the measured time; the latencies are also those of what was under way at its end.",
	"In a broadcast one connection's messages go to all of them, itself included, and the next message is published when all connections have had the one before, or, where 8 are under way, the one 8 before. A request is a delivery, of which each is compared and must come in order; a latency lasts from the publishing to the last delivery. One client process has all connections.",
	"Processor time is user and system time of the server's process in the measured time. Sending over loopback includes the receiving side's protocol work, for the client as for the server.",
	"A client whose core is full (g) limits the rate: such a rate is the client's, and processor time per request decides. A server that waits now and then works in smaller batches, which costs it more per request than a full one.",
	"Resident memory is what the server's process grew by since it was started and had collected its garbage, divided by the connections. The kernel's own memory for sockets, about the same for all, is not in it.",
	"A garbage collection is one that is asked for with all connections open and idle, the median of three; the longest pause is that of any collection since the server was started, rounded up to the classes in which the Go runtime counts.",
	"TCP_NODELAY is on for all clients; what the servers do is said beside each. Each library is set up as its documentation shows, and in its best mode where there are several (gnet with and without its build tag poll_opt, netpoll with handlers on its loops and on pooled goroutines).",
}
