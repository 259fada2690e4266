// An echo server on io_uring: one ring and one listener for each thread;
// multishot accept and receive, buffers that the kernel picks from a ring, one
// system call for each pass.
//
// A piece of data is sent from the buffer that it was received into, so nothing
// is copied. Few buffers are posted at a time: the kernel takes them in turn and
// would walk through all the memory that it has. But if it runs out of them,
// arming receives again costs more than the caches gain.
#include "server.h"
#include <linux/io_uring.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum {
	SQ_ENTRIES = 1024,
	CQ_ENTRIES = 8192,
	BUF_SIZE = 64 << 10, // with less, long messages come in so many pieces that buffers run out
	BUFS = 2048,         // all, of which memory is taken as it is used
	POSTED = 64,         // what the kernel has to receive into: more than one pass takes
	MAX_PIECES = 16,     // in one send
	MAX_WAITING = 16,    // pieces of one connection, which then is read no more for a time
	NONE = -1,
};

// What an operation is, in the low bits of its user data; the number of its
// connection is above.
enum { ACCEPT, RECV, SEND, IGNORED, KINDS };

// piece is what a buffer holds of a connection's data. It has the buffer's
// number.
struct piece {
	uint32_t from, to;
	int next;
};

struct conn {
	int fd;
	int first, last; // pieces to be sent, in order
	int waiting;     // how many
	int next;        // among the free, ready or starved connections
	bool receiving;  // a receive is armed
	bool cancelled;  // and to be ended, because too much waits
	bool sending;    // a send is in flight
	bool listed;     // in the list of ready or of starved connections
	bool ended;      // the peer sends no more
	bool broken;     // nothing can be sent
};

// list is a queue of connections: in turn, so that none waits for ever.
struct list {
	int first, last;
};

struct loop {
	int ring, listener;
	unsigned *sq_head, *sq_tail, *cq_head, *cq_tail;
	unsigned tail; // of the submission queue, not yet told to the kernel
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned sq_mask, cq_mask;

	struct io_uring_buf_ring *buf_ring;
	uint16_t buf_tail;
	int posted;
	char *bufs;
	int free_bufs[BUFS]; // a stack, so that the same few are used again
	int free_count;
	struct piece pieces[BUFS];

	struct conn *conns;
	int conn_count; // that were ever used
	int free_conn;             // a stack
	struct list ready, starved;

	// Of each entry of the submission queue, until it is submitted.
	struct msghdr messages[SQ_ENTRIES];
	struct iovec vectors[SQ_ENTRIES][MAX_PIECES];
};

static void enter(struct loop *l, unsigned wait)
{
	__atomic_store_n(l->sq_tail, l->tail, __ATOMIC_RELEASE);
	for (;;) {
		unsigned submit = l->tail - __atomic_load_n(l->sq_head, __ATOMIC_ACQUIRE);
		int n = syscall(__NR_io_uring_enter, l->ring, submit, wait,
				IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING, NULL, 0);
		if (n >= 0 || errno == EBUSY || errno == EAGAIN)
			return;
		if (errno != EINTR)
			die("io_uring_enter");
	}
}

// entry returns an empty entry of the submission queue.
static struct io_uring_sqe *entry(struct loop *l, int op, int fd, int conn, int kind)
{
	while (l->tail - __atomic_load_n(l->sq_head, __ATOMIC_ACQUIRE) == SQ_ENTRIES)
		enter(l, 0);
	struct io_uring_sqe *e = &l->sqes[l->tail++ & l->sq_mask];
	memset(e, 0, sizeof *e);
	e->opcode = op;
	e->fd = fd;
	e->user_data = (uint64_t)conn * KINDS + kind;
	return e;
}

// post gives the kernel buffers until it has POSTED, and publishes them at once.
static void post(struct loop *l)
{
	if (l->posted == POSTED || !l->free_count)
		return;
	for (; l->posted < POSTED && l->free_count; l->posted++) {
		int b = l->free_bufs[--l->free_count];
		struct io_uring_buf *to = &l->buf_ring->bufs[l->buf_tail++ & (POSTED - 1)];
		to->addr = (uint64_t)(l->bufs + (size_t)b * BUF_SIZE);
		to->len = BUF_SIZE;
		to->bid = b;
	}
	__atomic_store_n(&l->buf_ring->tail, l->buf_tail, __ATOMIC_RELEASE);
}

static void arm_accept(struct loop *l)
{
	struct io_uring_sqe *e = entry(l, IORING_OP_ACCEPT, l->listener, 0, ACCEPT);
	e->ioprio = IORING_ACCEPT_MULTISHOT;
	e->accept_flags = SOCK_CLOEXEC;
}

static void arm_recv(struct loop *l, int i)
{
	struct io_uring_sqe *e = entry(l, IORING_OP_RECV, l->conns[i].fd, i, RECV);
	e->ioprio = IORING_RECV_MULTISHOT;
	e->flags = IOSQE_BUFFER_SELECT;
	l->conns[i].receiving = true;
}

// start_send sends what waits, with one operation.
static void start_send(struct loop *l, int i)
{
	struct conn *c = &l->conns[i];
	struct io_uring_sqe *e = entry(l, IORING_OP_SENDMSG, c->fd, i, SEND);
	unsigned slot = e - l->sqes;
	struct iovec *v = l->vectors[slot];
	int n = 0;
	for (int b = c->first; b != NONE && n < MAX_PIECES; b = l->pieces[b].next, n++) {
		struct piece *p = &l->pieces[b];
		v[n].iov_base = l->bufs + (size_t)b * BUF_SIZE + p->from;
		v[n].iov_len = p->to - p->from;
	}
	if (n == 1) {
		e->opcode = IORING_OP_SEND;
		e->addr = (uint64_t)v[0].iov_base;
		e->len = v[0].iov_len;
	} else {
		l->messages[slot] = (struct msghdr){.msg_iov = v, .msg_iovlen = n};
		e->addr = (uint64_t)&l->messages[slot];
		e->len = 1;
	}
	e->msg_flags = MSG_WAITALL | MSG_NOSIGNAL; // the kernel goes on by itself when there is room
	c->sending = true;
}

// drop frees the buffer of the first piece.
static void drop(struct loop *l, struct conn *c)
{
	l->free_bufs[l->free_count++] = c->first;
	c->first = l->pieces[c->first].next;
	c->waiting--;
}

static void list(struct loop *l, struct list *to, int i)
{
	if (l->conns[i].listed)
		return;
	l->conns[i].listed = true;
	l->conns[i].next = NONE;
	if (to->first == NONE)
		to->first = i;
	else
		l->conns[to->last].next = i;
	to->last = i;
}

static int unlist(struct loop *l, struct list *from)
{
	int i = from->first;
	from->first = l->conns[i].next;
	l->conns[i].listed = false;
	return i;
}

static void accepted(struct loop *l, int fd)
{
	if (fd < 0) {
		errno = -fd;
		die("accept");
	}
	int i = l->free_conn;
	if (i != NONE)
		l->free_conn = l->conns[i].next;
	else
		i = l->conn_count++; // fewer than descriptors: each has one
	l->conns[i] = (struct conn){.fd = fd, .first = NONE};
	arm_recv(l, i);
}

static void received(struct loop *l, int i, const struct io_uring_cqe *e)
{
	struct conn *c = &l->conns[i];
	if (!(e->flags & IORING_CQE_F_MORE))
		c->receiving = c->cancelled = false;
	if (e->flags & IORING_CQE_F_BUFFER) {
		int b = e->flags >> IORING_CQE_BUFFER_SHIFT;
		l->posted--;
		if (e->res > 0 && !c->broken) {
			l->pieces[b] = (struct piece){.to = e->res, .next = NONE};
			if (c->first == NONE)
				c->first = b;
			else
				l->pieces[c->last].next = b;
			c->last = b;
			c->waiting++;
		} else {
			l->free_bufs[l->free_count++] = b;
		}
	}
	if (e->res == 0 || (e->res < 0 && e->res != -ENOBUFS && e->res != -ECANCELED))
		c->ended = true;
	list(l, &l->ready, i);
}

static void sent(struct loop *l, int i, int res)
{
	struct conn *c = &l->conns[i];
	c->sending = false;
	if (res < 0) {
		c->broken = true;
		shutdown(c->fd, SHUT_RDWR); // which ends the receive, too
		while (c->first != NONE)
			drop(l, c);
	}
	while (res > 0) {
		struct piece *p = &l->pieces[c->first];
		uint32_t n = p->to - p->from;
		if ((uint32_t)res < n) {
			p->from += res;
			break;
		}
		res -= n;
		drop(l, c);
	}
	list(l, &l->ready, i);
}

// settle starts what a connection needs next, once for all that happened in a
// pass.
static void settle(struct loop *l, int i)
{
	struct conn *c = &l->conns[i];
	if (!c->sending && c->first != NONE)
		start_send(l, i);
	if (c->receiving && !c->cancelled && c->waiting > MAX_WAITING) {
		struct io_uring_sqe *e = entry(l, IORING_OP_ASYNC_CANCEL, -1, 0, IGNORED);
		e->addr = (uint64_t)i * KINDS + RECV;
		c->cancelled = true;
	}
	if (c->receiving || c->sending || c->waiting > 0)
		return;
	if (c->ended || c->broken) {
		struct io_uring_sqe *e = entry(l, IORING_OP_CLOSE, c->fd, 0, IGNORED);
		e->flags = IOSQE_CQE_SKIP_SUCCESS;
		c->next = l->free_conn;
		l->free_conn = i;
	} else {
		list(l, &l->starved, i); // until there are buffers: without any it would fail at once
	}
}

static void complete(struct loop *l)
{
	unsigned head = *l->cq_head, tail = __atomic_load_n(l->cq_tail, __ATOMIC_ACQUIRE);
	while (head != tail) {
		struct io_uring_cqe e = l->cqes[head++ & l->cq_mask];
		// At once: a full submission queue is submitted in between, which
		// needs room here.
		__atomic_store_n(l->cq_head, head, __ATOMIC_RELEASE);
		int conn = e.user_data / KINDS;
		switch (e.user_data % KINDS) {
		case ACCEPT:
			accepted(l, e.res);
			if (!(e.flags & IORING_CQE_F_MORE))
				arm_accept(l);
			break;
		case RECV:
			received(l, conn, &e);
			break;
		case SEND:
			sent(l, conn, e.res);
			break;
		}
	}
	while (l->ready.first != NONE)
		settle(l, unlist(l, &l->ready));
	post(l);
	while (l->starved.first != NONE && l->posted)
		arm_recv(l, unlist(l, &l->starved));
}

static void *map(size_t size, int flags, int fd, off_t at)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, at);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void make_ring(struct loop *l)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
			 IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	if ((l->ring = syscall(__NR_io_uring_setup, SQ_ENTRIES, &p)) < 0)
		die("io_uring_setup");
	size_t sq_size = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	size_t cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	char *rings = map(sq_size > cq_size ? sq_size : cq_size, MAP_SHARED | MAP_POPULATE, l->ring, IORING_OFF_SQ_RING);
	l->sqes = map(p.sq_entries * sizeof *l->sqes, MAP_SHARED | MAP_POPULATE, l->ring, IORING_OFF_SQES);
	l->sq_head = (unsigned *)(rings + p.sq_off.head);
	l->sq_tail = (unsigned *)(rings + p.sq_off.tail);
	l->cq_head = (unsigned *)(rings + p.cq_off.head);
	l->cq_tail = (unsigned *)(rings + p.cq_off.tail);
	l->cqes = (struct io_uring_cqe *)(rings + p.cq_off.cqes);
	l->sq_mask = p.sq_entries - 1;
	l->cq_mask = p.cq_entries - 1;
	unsigned *array = (unsigned *)(rings + p.sq_off.array);
	for (unsigned i = 0; i < p.sq_entries; i++)
		array[i] = i;
	// The number of the ring in the thread's own table is cheaper to look up.
	struct io_uring_rsrc_update update = {.offset = -1U, .data = l->ring};
	if (syscall(__NR_io_uring_register, l->ring, IORING_REGISTER_RING_FDS, &update, 1) != 1)
		die("register the ring");
	int ring = l->ring;
	l->ring = update.offset;

	l->buf_ring = map(POSTED * sizeof(struct io_uring_buf), MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)l->buf_ring, .ring_entries = POSTED};
	if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_PBUF_RING, &reg, 1) < 0)
		die("register buffers");
}

__attribute__((noreturn)) static void *run(void *listener)
{
	struct loop *l = allocate(1, sizeof *l);
	l->listener = *(int *)listener;
	l->free_conn = l->ready.first = l->starved.first = NONE;
	l->conns = map(max_descriptors() * sizeof *l->conns, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	l->bufs = map((size_t)BUFS * BUF_SIZE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	while (l->free_count < BUFS) {
		l->free_bufs[l->free_count] = BUFS - 1 - l->free_count;
		l->free_count++;
	}
	make_ring(l);
	post(l);
	arm_accept(l);
	for (;;) {
		enter(l, 1);
		complete(l);
	}
}

int main(int argc, char **argv) { return serve(argc, argv, run, 0); }
