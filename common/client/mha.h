/*
 * libmha: what an application asks a mha4rdb cluster. Who leads, which database to connect to, and
 * what has changed.
 *
 * DISCOVERY. A handle begins with one or more seed addresses of agents' request sockets
 * (client.listen). The other members are learned from the agents' own answers, which tell each
 * member's address but not the port of its request socket: a member is asked at the port of the
 * seed with the same address, else at options.port, else at the port of the first tcp seed, else at
 * 7401. An agent whose client.listen is left at 127.0.0.1 cannot be reached from another host, so
 * clusters with remote clients set it to an address of the host, on one port for all members.
 *
 * TRUTH. A leader is confirmed only by the member that says of itself, in an answer to a question
 * asked during the call, that it holds a lease which has not run out since the question was sent.
 * Everything else is "unknown" (MHA_ERR_NO_LEADER) with the reason in words. Epochs that a handle
 * has confirmed never go back: a claim with an older epoch, or by another member in the same epoch,
 * is refused.
 *
 * THREADS. Every function may be called from any thread at any time, on the same handle too, with
 * the exceptions named at mha_close() and mha_stop_thread(). One mutex per handle guards its
 * memory; it is never held while waiting, nor while a callback runs. Callbacks of one handle run
 * one after the other, never at the same time. The library runs the caller's code in the caller's
 * threads; only mha_start_thread() makes a thread for that. (ZeroMQ keeps two threads of its own
 * per handle for its sockets; they never run code of the caller.) A handle does not survive fork().
 *
 * BLOCKING. Functions with a `timeout_ms` block at most about that long. All others do not wait.
 *
 * VERSIONS. Structs that begin with `size` may grow at their end. Set `size` to sizeof the struct
 * (the *_INIT macros do) and zero the rest. An older library refuses a set member that it does not
 * know (MHA_ERR_VERSION), a newer one takes the missing members as zero.
 *
 * OWNERSHIP. What is passed in is copied. What is passed to a callback is the library's and ends
 * with the callback. What a function returns is freed by the function named there.
 *
 * ERRORS. Functions return 0 or an enum mha_code below 0, and write `error` (may be NULL) on
 * failure only.
 */
#ifndef MHA4RDB_MHA_H
#define MHA4RDB_MHA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An initial value: the size is set, the rest is zero. */
#ifdef __cplusplus
#define MHA_SIZED(type)                                                                            \
	{                                                                                          \
		sizeof(type)                                                                       \
	}
extern "C" {
#else
#define MHA_SIZED(type)                                                                            \
	{                                                                                          \
		.size = sizeof(type)                                                               \
	}
#endif

#define MHA_API __attribute__((visibility("default")))

#define MHA_NAME_SIZE    64
#define MHA_ADDRESS_SIZE 64
#define MHA_TEXT_SIZE    512

enum mha_code {
	MHA_OK = 0,
	MHA_ERR_INVALID = -1,   /* the input makes no sense; repeating will not help */
	MHA_ERR_NOT_FOUND = -2, /* the thing named does not exist */
	MHA_ERR_EXISTS = -3,    /* it exists already */
	MHA_ERR_IO = -4,        /* the operating system or ZeroMQ refused */
	MHA_ERR_NO_MEMORY = -5,
	MHA_ERR_PERM = -6,       /* a right is missing */
	MHA_ERR_TIMEOUT = -7,    /* nobody answered in time */
	MHA_ERR_TOO_BIG = -8,    /* a bound would be exceeded */
	MHA_ERR_CORRUPT = -11,   /* an answer that makes no sense */
	MHA_ERR_VERSION = -12,   /* another version of protocol or library is needed */
	MHA_ERR_BUSY = -13,      /* try again later */
	MHA_ERR_NO_LEADER = -32, /* no member confirms that it leads; the text says why */
	MHA_ERR_NO_REPLICA = -33 /* no replica is good enough; the text says why */
};

struct mha_error {
	int code; /* enum mha_code */
	char text[MHA_TEXT_SIZE];
};

/* "timeout", "no_leader", ...: stable. Never NULL. */
MHA_API const char *mha_error_name(int code);
/* The version of the library, "0.1.0". */
MHA_API const char *mha_version(void);

struct mha; /* a handle */

struct mha_options {
	size_t size;
	/*
	 * Comma-separated, at least one: "tcp://address:port", "address:port", "address",
	 * "[v6 address]:port" or "ipc:///run/mha4rdb/client.sock". After a space may follow the
	 * CURVE public key of that agent (Z85, 40 characters).
	 */
	const char *seeds;
	const char *cluster; /* its name; NULL: that of the first answer */
	unsigned port;       /* of members that are learned, 1..65535; 0: see DISCOVERY */
	unsigned poll_ms;    /* time between questions of the listener, 50..60000; 0: 1000 */
	/*
	 * Encryption over tcp: the file with the client's own CURVE secret key as mha-keygen writes
	 * it, and the public key of all agents that have none in `seeds`. Members without a known
	 * key are then not asked. Both NULL and no keys in `seeds`: no encryption.
	 */
	const char *key_file;
	const char *server_key;
};
#define MHA_OPTIONS_INIT MHA_SIZED(struct mha_options)

/* Does not talk to anybody yet. MHA_ERR_INVALID, _NOT_FOUND (key_file), _NO_MEMORY, _IO. */
MHA_API int mha_open(struct mha **mha, const struct mha_options *options, struct mha_error *error);

/*
 * Ends the handle, its listener and its thread. No other call on the handle may be under way or
 * follow, and not from a callback. NULL is fine.
 */
MHA_API void mha_close(struct mha *mha);

/* -- the leader ------------------------------------------------------------------------------ */

struct mha_leader {
	size_t size;
	uint64_t epoch;
	int64_t valid_ms; /* its lease lasts at least so long from the return of the call; >= 0 */
	unsigned port;    /* of its database */
	char name[MHA_NAME_SIZE];
	char address[MHA_ADDRESS_SIZE]; /* of its database */
	char vip[MHA_ADDRESS_SIZE];     /* virtual address of the primary; empty: none */
};
#define MHA_LEADER_INIT MHA_SIZED(struct mha_leader)

/*
 * Ask all members. Returns as soon as one confirms itself, or MHA_ERR_NO_LEADER as soon as all have
 * answered and none does, or at the deadline (MHA_ERR_NO_LEADER; MHA_ERR_TIMEOUT: nobody at all has
 * answered).
 */
MHA_API int mha_get_leader(struct mha *mha, struct mha_leader *leader, unsigned timeout_ms,
			   struct mha_error *error);
/* The same, but goes on asking until one confirms itself or the time is over. */
MHA_API int mha_wait_leader(struct mha *mha, struct mha_leader *leader, unsigned timeout_ms,
			    struct mha_error *error);

/* -- the cluster ----------------------------------------------------------------------------- */

struct mha_member {
	unsigned id;
	unsigned port;     /* of its database; 0: a witness */
	unsigned priority; /* 0: never primary */
	unsigned timeline;
	uint64_t flushed;         /* WAL positions in bytes; 0: not known */
	uint64_t replayed;        /* */
	int64_t lag_bytes;        /* behind the primary's flushed WAL, flushed; -1: not known */
	int64_t replay_lag_bytes; /* the same, replayed; -1: not known */
	int64_t age_ms;           /* of these facts; -1: never heard */
	bool heard;               /* recent enough to be believed */
	bool streaming;
	bool in_record; /* acknowledged commits are on record to be there */
	bool maintenance;
	const char *name;
	const char *kind;    /* "data" or "witness" */
	const char *address; /* of its database */
	const char *role;    /* "primary", "standby" or "witness", by the record */
	const char *state;   /* words for people */
	const char *sync;    /* "sync", "quorum" or "" */
	const char *fault;   /* name of what is wrong with its database, or "" */
};

struct mha_cluster {
	const char *name;
	const char *told_by; /* the member whose view this is */
	const char *leader;  /* NULL: none is confirmed */
	const char *unknown; /* why not; "" when one is */
	const char *phase;   /* what the leader of the consensus does */
	const char *why;     /* words for people */
	const char *mode;    /* protection mode; "" when not known */
	uint64_t epoch;
	uint64_t term;
	unsigned timeline;
	bool degraded; /* fewer standbys hold each commit than the mode wants */
	unsigned member_count;
	const struct mha_member *const *members; /* member_count of them */
};

/*
 * The view of the confirmed leader, else of the member with the newest epoch that answers within
 * the time. Free with mha_cluster_free(). MHA_ERR_TIMEOUT: nobody answers.
 */
MHA_API int mha_get_cluster(struct mha *mha, struct mha_cluster **cluster, unsigned timeout_ms,
			    struct mha_error *error);
MHA_API void mha_cluster_free(struct mha_cluster *cluster); /* NULL is fine */

/* -- routing --------------------------------------------------------------------------------- */

enum mha_role {
	MHA_PRIMARY = 1, /* reads and writes */
	MHA_REPLICA = 2, /* reads, off the primary where possible */
	MHA_ANY = 3      /* reads, wherever; the primary takes its turn */
};

/*
 * Bounds apply to replicas. They are judged by what the replica's agent says of its own database
 * and what the confirmed leader says of its own, both during the call: without a confirmed leader
 * no replica satisfies a bound. The facts are as old as the agents' monitor.interval, so a bound
 * can be refused that is in fact satisfied, never the other way round, at the moment of the call. A
 * session that lives on may fall behind later.
 */
struct mha_want {
	size_t size;
	int role;               /* enum mha_role */
	bool strict;            /* MHA_REPLICA: an error rather than the primary in the end */
	uint64_t max_lag_bytes; /* of WAL not replayed yet; 0: no bound */
	unsigned max_lag_ms;    /* all that the primary had flushed so long ago is there; 0: none */
	/*
	 * Read your writes: text of pg_current_wal_insert_lsn(), taken on the primary after the
	 * write was committed. A replica qualifies once it has replayed so far on the leader's
	 * timeline. NULL: none.
	 */
	const char *after_lsn;
};
#define MHA_WANT_INIT MHA_SIZED(struct mha_want)

struct mha_target {
	size_t size;
	int role;          /* MHA_PRIMARY or MHA_REPLICA: what was chosen */
	int wanted;        /* the role that was asked for */
	uint64_t epoch;    /* 0: no leader is confirmed */
	uint64_t replayed; /* position it had replayed at least; 0 for the primary */
	int64_t lag_bytes; /* at most; -1: not known */
	int64_t lag_ms;    /* at most; -1: not known */
	unsigned port;
	char name[MHA_NAME_SIZE];
	char address[MHA_ADDRESS_SIZE];
};
#define MHA_TARGET_INIT MHA_SIZED(struct mha_target)

/*
 * MHA_PRIMARY: the confirmed leader, waited for. MHA_REPLICA: replicas that satisfy all bounds take
 * turns; while one streams that does not yet, it is waited for until the time is over; then, or at
 * once if there is none, the confirmed leader (unless `strict`: MHA_ERR_NO_REPLICA). MHA_ANY: the
 * same, with the leader among those that take turns. MHA_ERR_NO_LEADER: neither was found.
 */
MHA_API int mha_route(struct mha *mha, const struct mha_want *want, struct mha_target *target,
		      unsigned timeout_ms, struct mha_error *error);

/*
 * A conninfo string for libpq (14 or later) to `target`: host, hostaddr (so that PGHOSTADDR has no
 * say), port, target_session_attrs ("read-write" for a primary that is to be written, "primary" for
 * one that takes a replica's place, "standby" for a replica, "any"), and `params`: keyword, value,
 * keyword, value, ..., NULL (or NULL itself), quoted. MHA_ERR_INVALID: a keyword that is none, or
 * one that would say where to go (host, hostaddr, port, target_session_attrs, service,
 * servicefile, load_balance_hosts). Free with mha_free().
 */
MHA_API int mha_target_conninfo(const struct mha_target *target, const char *const *params,
				char **conninfo, struct mha_error *error);
/* mha_route() and mha_target_conninfo() in one; `want` may be NULL: the primary. */
MHA_API int mha_conninfo(struct mha *mha, const struct mha_want *want, const char *const *params,
			 unsigned timeout_ms, char **conninfo, struct mha_error *error);
MHA_API void mha_free(char *text); /* NULL is fine */

/* -- listening ------------------------------------------------------------------------------- */

enum mha_change_kind {
	MHA_LEADER_FOUND = 1,   /* the first one */
	MHA_LEADER_LOST = 2,    /* none is confirmed any more; `why` says what is missing */
	MHA_LEADER_CHANGED = 3, /* another epoch, and mostly another member */
	MHA_LEADER_BACK = 4     /* after LOST: the same member in the same epoch */
};

/* `epoch` never goes back from one change to the next. */
struct mha_change {
	size_t size;
	int kind;             /* enum mha_change_kind */
	uint64_t old_epoch;   /* 0: there was none */
	uint64_t epoch;       /* LOST: of the one that is lost */
	const char *old_name; /* "" with FOUND */
	const char *name;     /* "" with LOST */
	const char *address;  /* of the new leader's database; "" with LOST */
	unsigned port;        /* 0 with LOST */
	const char *why;      /* with LOST; else "" */
};

/* One of the cluster's events, as GetEvents tells them, or the word that some are missing. */
struct mha_event {
	size_t size;
	bool gap;       /* events before the next one may be missing; the rest says nothing */
	uint64_t index; /* number in the stream: index, then sub */
	uint32_t sub;
	uint64_t wall_ms; /* since 1970 */
	const char *name; /* "failover.opened", ... */
	const char *json;
	const char *source; /* the member that tells */
};

struct mha_listener {
	size_t size;
	void *arg; /* for the callbacks */
	/* Each may be NULL. They may call anything but mha_close() and mha_stop_thread(). */
	void (*changed)(void *arg, const struct mha_change *change);
	void (*event)(void *arg, const struct mha_event *event);
	/* true: first tell the events after this number; false: only new ones. */
	bool resume;
	uint64_t since_index;
	uint32_t since_sub;
};
#define MHA_LISTENER_INIT MHA_SIZED(struct mha_listener)

/*
 * One listener per handle (MHA_ERR_EXISTS), until mha_close(). With `event` set one long poll is
 * kept open at one member; when that member is lost, another one goes on from the last number. A
 * member numbers what it noticed itself (as opposed to the log) on its own, so after such a change
 * an event can come twice or be missing; a gap that is known is told.
 */
MHA_API int mha_listen(struct mha *mha, const struct mha_listener *listener,
		       struct mha_error *error);

/*
 * A descriptor that is readable whenever mha_process() has work, timers included; for poll, epoll
 * or a loop, level-triggered. The library's: do not read or close it. -1 before mha_listen().
 */
MHA_API int mha_fd(const struct mha *mha);

/*
 * Do what is due and run the callbacks in this thread, without waiting. Harmless when nothing is
 * due. While another thread is in it, or from a callback, it returns 0 at once. An error
 * (MHA_ERR_NO_MEMORY, _IO) is tried again at the next call; MHA_ERR_INVALID: no listener.
 */
MHA_API int mha_process(struct mha *mha, struct mha_error *error);

/* A thread of its own that calls mha_process() when it is due. All its signals are blocked. */
MHA_API int mha_start_thread(struct mha *mha, struct mha_error *error);
/* Waits until its callback is done. Not from a callback. Harmless when there is none. */
MHA_API void mha_stop_thread(struct mha *mha);

#ifdef __cplusplus
}
#endif

#endif
