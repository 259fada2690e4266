// An echo server on epoll: one loop, one buffer and one listener for each
// thread. A connection is its descriptor; what the kernel would not take is
// kept by descriptor, and such a connection is not read until all has left.
#include "server.h"
#include <sys/epoll.h>

enum { EVENTS = 512, READ_SIZE = 64 << 10 };

// rest is what is still to be sent on a connection.
struct rest {
	size_t from, to;
	char bytes[];
};

struct loop {
	int epoll, listener;
	struct rest **rests; // by descriptor
	char buf[READ_SIZE];
};

static void control(struct loop *l, int op, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};
	if (epoll_ctl(l->epoll, op, fd, &ev) < 0)
		die("epoll_ctl");
}

static void accept_all(struct loop *l)
{
	for (;;) {
		int fd = accept4(l->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			control(l, EPOLL_CTL_ADD, fd, EPOLLIN);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR && errno != ECONNABORTED)
			die("accept4");
	}
}

// send_some returns how much the kernel took, or -1 if the connection is of no
// more use.
static ssize_t send_some(int fd, const char *p, size_t n)
{
	for (;;) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
		if (sent >= 0)
			return sent;
		if (errno == EAGAIN)
			return 0;
		if (errno != EINTR)
			return -1;
	}
}

static void echo(struct loop *l, int fd)
{
	ssize_t n = recv(fd, l->buf, READ_SIZE, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	ssize_t sent = n > 0 ? send_some(fd, l->buf, n) : -1;
	if (sent < 0) {
		close(fd);
		return;
	}
	if (sent == n)
		return;
	struct rest *r = malloc(sizeof *r + (n - sent));
	if (!r)
		die("malloc");
	r->from = 0;
	r->to = n - sent;
	memcpy(r->bytes, l->buf + sent, r->to);
	l->rests[fd] = r;
	control(l, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void flush(struct loop *l, int fd, struct rest *r)
{
	ssize_t sent = send_some(fd, r->bytes + r->from, r->to - r->from);
	if (sent >= 0) {
		r->from += sent;
		if (r->from < r->to)
			return;
	}
	l->rests[fd] = NULL;
	free(r);
	if (sent < 0)
		close(fd);
	else
		control(l, EPOLL_CTL_MOD, fd, EPOLLIN);
}

__attribute__((noreturn)) static void *run(void *listener)
{
	struct loop *l = allocate(1, sizeof *l);
	l->listener = *(int *)listener;
	l->rests = allocate(max_descriptors(), sizeof *l->rests);
	if ((l->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
		die("epoll_create1");
	control(l, EPOLL_CTL_ADD, l->listener, EPOLLIN);
	struct epoll_event events[EVENTS];
	for (;;) {
		int n = epoll_wait(l->epoll, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd == l->listener)
				accept_all(l);
			else if (l->rests[fd])
				flush(l, fd, l->rests[fd]);
			else
				echo(l, fd);
		}
	}
}

int main(int argc, char **argv) { return serve(argc, argv, run, SOCK_NONBLOCK); }
