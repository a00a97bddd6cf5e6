/* Inside of libmha: what its parts share. Errors inside are struct err with codes of mha.h. */
#ifndef MHA_CLIENT_HANDLE_H
#define MHA_CLIENT_HANDLE_H

#include <pthread.h>

#include "client/client.h"
#include "client/mha.h"

#define LINKS_MAX       32
#define SAMPLES_MAX     64
#define SAMPLE_SPACE_MS 20
#define PORT_DEFAULT    7401
/* A question that was not answered for so long is asked again over a new connection. */
#define ANSWER_MS 1000

/* Where an agent may be asked. */
struct link {
	char endpoint[CLIENT_ENDPOINT_SIZE];
	char server_key[CLIENT_KEY_SIZE]; /* empty: none */
	char name[MHA_NAME_SIZE];         /* of the member that answers there; empty: not known */
	bool seed;
};

/* Position that the primary had flushed at that time at the latest. */
struct sample {
	int64_t at_ms;
	unsigned timeline;
	uint64_t flushed;
};

struct listen;

struct mha {
	pthread_mutex_t lock;
	pthread_mutex_t ending; /* held by who stops the thread, before `lock` */
	void *context;
	unsigned port; /* 0: not given */
	unsigned poll_ms;
	bool curve;
	char public_key[CLIENT_KEY_SIZE];
	char secret_key[CLIENT_KEY_SIZE];
	char server_key[CLIENT_KEY_SIZE];

	/* From here on guarded by `lock`. */
	char cluster[MHA_NAME_SIZE]; /* empty: not known yet */
	unsigned link_count;
	struct link links[LINKS_MAX];
	uint64_t floor_epoch; /* newest that was confirmed; 0: none */
	char floor_name[MHA_NAME_SIZE];
	unsigned turn;
	unsigned sample_count; /* ever */
	struct sample samples[SAMPLES_MAX];
	struct listen *listen; /* NULL: nobody listens */
};

/* What one member says, as far as it matters for who leads. */
struct answer {
	bool any; /* it answered, and the answer makes sense */
	char node[MHA_NAME_SIZE];
	uint64_t epoch;
	bool claims;      /* says of itself that it serves under an unexpired lease */
	int64_t until_ms; /* by CLOCK_BOOTTIME: the lease lasts until then at least */
	struct mha_leader leader;
	char why[256]; /* why it does not claim, or did not answer */
};

/* Write the public error; returns the public code. */
int error_tell(struct mha_error *error, int code, const struct err *why);

/* Struct of the caller, which begins with its size, into one of ours; see VERSIONS in mha.h. */
MUST_CHECK int struct_take(void *to, size_t size, const void *from, const char *what,
			   struct err *why);
/* Ours into one of the caller's. */
MUST_CHECK int struct_check(const void *to, size_t size, const char *what, struct err *why);
void struct_give(void *to, const void *from, size_t size);

/* A client of `link`, with the handle's context and keys. */
MUST_CHECK int link_open(const struct mha *mha, const struct link *link, struct client **client,
			 struct err *why);
/* Ask for the status without waiting; `*id` is the request's. */
MUST_CHECK int link_ask(struct client *client, uint64_t *id, struct err *why);

/*
 * Read a reply to GetStatus that was asked for at `sent_ms`, and learn the members from it. With
 * the lock held. A reply that makes no sense, or is of another cluster, leaves `any` false.
 */
void answer_read(struct mha *mha, const struct link *link, const Mha__Client__Reply *reply,
		 int64_t sent_ms, struct answer *answer);

/*
 * Who of those that answered is confirmed as the leader; with the lock held. 0 and `*winner`, or
 * MHA_ERR_NO_LEADER, or MHA_ERR_TIMEOUT when nobody answered. Raises the floor.
 */
MUST_CHECK int leader_judge(struct mha *mha, const struct answer *const *answers, unsigned count,
			    int64_t now_ms, const struct answer **winner, struct err *why);

void listen_close(struct mha *mha);

#endif
