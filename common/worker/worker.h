/*
 * The skeleton of every worker: one libuv loop, the control socket to the master, the
 * configuration, the status section, the bus, orderly exit. A worker supplies struct worker_ops.
 *
 * Descriptors at exec (set by the master, checked here):
 *   3  control socket (SOCK_SEQPACKET) to the master; its end of file means: exit
 *   4  the effective configuration, a sealed memfd
 *   5  the worker's own status section, read-write
 *   6  only vip: a packet socket (AF_PACKET), opened while there was still CAP_NET_RAW
 *   7  only consensus, dbctl and gateway: a secret, a sealed memfd: the node's CURVE secret key, or
 * the replication password; gateway: a bundle (access/bundle.h)
 */
#ifndef MHA_WORKER_WORKER_H
#define MHA_WORKER_WORKER_H

#include <uv.h>

#include "conf/conf.h"
#include "status/status.h"
#include "wire/bus.h"

#define WORKER_FD_CONTROL 3
#define WORKER_FD_CONF    4
#define WORKER_FD_STATUS  5
#define WORKER_FD_PACKET  6
#define WORKER_FD_SECRET  7

#define WORKER_SECRET_MAX ((size_t)1024 * 1024)

struct worker {
	const char *name;
	enum worker_id id;
	uv_loop_t *loop;
	struct conf conf;
	struct bus *bus;
	struct status_map status;
	int secret_fd; /* WORKER_FD_SECRET, or a newer one of the same kind */
	void *self;    /* the worker's own state */
	const struct worker_ops *ops;
};

struct worker_ops {
	/* Build `worker->self` and start watching. A failure ends the process; the master retries.
	 */
	int (*start)(struct worker *worker, struct err *why);
	/* A message that a route allows. Borrowed for the call. */
	void (*message)(struct worker *worker, enum route_id route,
			const ProtobufCMessage *message);
	/* The configuration was reloaded; worker->conf is the new one. May be NULL. */
	void (*reload)(struct worker *worker);
	/* worker_ask_reload() has ended: 0, or why the old configuration stays. May be NULL. */
	void (*reloaded)(struct worker *worker, int code);
	/*
	 * Asked to stop (`handover`: agent.on_stop says to hand over first). Call worker_stopped()
	 * when done, at the latest after 10 s. May be NULL: stops at once.
	 */
	void (*stop)(struct worker *worker, bool handover);
	/* Free what start() made; the loop runs no more. May be NULL. */
	void (*finish)(struct worker *worker);
};

/* The whole main() of a worker program. Returns its exit status. */
int worker_main(enum worker_id id, const struct worker_ops *ops);
/*
 * Have the master read the configuration file again, as SIGHUP does; reloaded() tells the end. Of
 * the gateway only: from any other worker the master takes it for nothing.
 */
MUST_CHECK int worker_ask_reload(struct err *why);
/* stop() is done. */
void worker_stopped(struct worker *worker);

/*
 * The secret of descriptor 7, or the one that came with a reload, as text, without a final line
 * end. ERR_NOT_FOUND: this worker was given none; ERR_TOO_BIG: it does not fit into `size` bytes;
 * ERR_INVALID: it is empty or holds a NUL. Whoever has used it overwrites it (explicit_bzero).
 */
MUST_CHECK int worker_secret(const struct worker *worker, char *secret, size_t size,
			     struct err *why);
/*
 * The same as bytes, however many (heap; to be overwritten and freed). ERR_TOO_BIG: more than
 * WORKER_SECRET_MAX.
 */
MUST_CHECK int worker_secret_bytes(const struct worker *worker, uint8_t **bytes, size_t *size,
				   struct err *why);

#endif
