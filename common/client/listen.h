/* Inside of the listener: who is asked, what is known, what is to be told. */
#ifndef MHA_CLIENT_LISTEN_H
#define MHA_CLIENT_LISTEN_H

#include "client/handle.h"

/* One member that is asked again and again. */
struct watch {
	bool used;
	bool told; /* it has answered lately */
	struct link link;
	struct client *client; /* NULL: to be opened when next_ms has come */
	uint64_t status_id;    /* 0: no question is open */
	int64_t sent_ms;
	int64_t next_ms; /* of the next question, while none is open */
	struct answer answer;
};

/* The stream of events, at one member at a time. */
struct stream {
	struct watch *source; /* NULL: none yet */
	uint64_t id;          /* 0: no question is open */
	int64_t due_ms;       /* until it must have been answered */
	int64_t next_ms;      /* of the next question, while none is open */
	bool placed;          /* since_* is a place in the stream */
	bool gap_told;
	bool crowded; /* the agent has no room for long polls */
	uint64_t since_index;
	uint32_t since_sub;
};

/* What a callback is told once the lock is free. */
struct note {
	struct note *next;
	bool gap;                   /* with `events` */
	Mha__Client__Reply *events; /* else: a change */
	char source[MHA_NAME_SIZE];
	int kind;
	uint64_t old_epoch;
	struct mha_leader old;
	struct mha_leader leader;
	char why[ERR_TEXT_SIZE];
};

/* Everything but the descriptors and `how` is guarded by the handle's lock. */
struct listen {
	struct mha_listener how;
	int epoll;
	int timer;
	int wake;
	bool processing;
	struct watch watches[LINKS_MAX];
	struct stream stream;
	bool any;                 /* a leader was confirmed once */
	bool lost;                /* and is not any more */
	struct mha_leader leader; /* the last one */
	int64_t asked_again_ms;   /* when a change made everybody be asked at once */
	struct note *first;
	struct note **last;
	bool has_thread;
	bool stop;
	pthread_t thread;
};

/* stream.c */
/* Ask where it is due; the lock is held. */
MUST_CHECK int stream_step(struct mha *mha, int64_t now, struct err *why);
/* A reply that came from `watch`; takes it over if it is the stream's. True: it was. */
bool stream_take(struct mha *mha, struct watch *watch, Mha__Client__Reply *reply, int64_t now);
/* The member is gone. */
void stream_leave(struct mha *mha, const struct watch *watch);
int64_t stream_due(const struct listen *listen);

/* listen.c */
/* A new note at the end of the queue, or NULL without memory. */
struct note *note_add(struct listen *listen);
/* Something happened: everybody is to be asked at once. */
void listen_hurry(struct listen *listen, int64_t now);

#endif
