// What both references share: arguments, listeners, one thread for each loop.
#ifndef SERVER_H
#define SERVER_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

__attribute__((noreturn)) static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void *allocate(size_t count, size_t size)
{
	void *p = calloc(count, size);
	if (!p)
		die("calloc");
	return p;
}

// max_descriptors is one more than the highest descriptor there can be.
__attribute__((unused)) static size_t max_descriptors(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("setrlimit");
	return limit.rlim_cur;
}

// listen_on returns the listener of one of some loops, over whose listeners the
// kernel spreads connections. TCP_NODELAY passes on to connections.
static int listen_on(const struct sockaddr_in *addr, int loops, int flags)
{
	int one = 1, several = loops > 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &several, sizeof several) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
		die("setsockopt");
	if (bind(fd, (const struct sockaddr *)addr, sizeof *addr) < 0)
		die("bind");
	if (listen(fd, BACKLOG) < 0)
		die("listen");
	return fd;
}

// serve runs a loop on each of as many threads as GOMAXPROCS says, as a Go
// program would. The arguments are an IPv4 address and a port. Loops never
// return.
static int serve(int argc, char **argv, void *(*loop)(void *listener), int flags)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	if (argc != 3 || inet_pton(AF_INET, argv[1], &addr.sin_addr) != 1) {
		fprintf(stderr, "usage: %s ADDRESS PORT\n", argv[0]);
		return 2;
	}
	addr.sin_port = htons(atoi(argv[2]));
	const char *text = getenv("GOMAXPROCS");
	int loops = text ? atoi(text) : 1;
	pthread_t thread;
	for (int i = 0; i < loops; i++) {
		int *listener = allocate(1, sizeof *listener);
		*listener = listen_on(&addr, loops, flags);
		if ((errno = pthread_create(&thread, NULL, loop, listener)))
			die("pthread_create");
	}
	pthread_join(thread, NULL);
	return 0;
}

#endif
