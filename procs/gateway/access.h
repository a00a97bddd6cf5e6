/* Who may come in and with what: root's files, as the master hands them over (access/bundle.h). */
#ifndef MHA_GATEWAY_ACCESS_H
#define MHA_GATEWAY_ACCESS_H

#include "access/bundle.h"
#include "access/table.h"
#include "wire/key.h"
#include "worker/worker.h"

struct access {
	bool curve;                  /* clients over TCP prove a key */
	struct key key;              /* this agent's, for them */
	struct access_table clients; /* their keys */
	bool has_users;
	struct access_table users; /* of the HTTP interface */
	struct bundle files;       /* with the TLS parts; texts live as long as this does */
};

/* Read what the master gave last. `*access` (heap) is left alone unless all of it is right. */
MUST_CHECK int access_take(struct access **access, const struct worker *worker, struct err *why);
/* NULL is fine. */
void access_free(struct access *access);

#endif
