/*
 * What HTTP can change: the closed table of method, path and role, Patroni's bodies read into
 * calls, and the ends of calls as Patroni tells them. Pure: the server is in http.c.
 */
#ifndef MHA_GATEWAY_ACTIONS_H
#define MHA_GATEWAY_ACTIONS_H

#include "access/role.h"
#include "client.pb-c.h"
#include "core/call.h"
#include "gateway/problems.h"
#include "gateway/routes.h"

#define ACTION_BODY_MAX 4096

struct action_call;

/* A field of a JSON body under /v1. */
enum action_field_kind { FIELD_TEXT, FIELD_FLAG, FIELD_TIME, FIELD_QUORUM };
struct action_field {
	const char *name; /* NULL: behind the last one */
	const char *to;   /* its name in proto/client.proto */
	enum action_field_kind kind;
	bool needed;
};

struct action {
	const char *method;
	const char *path;
	enum role needs;  /* the least role that may do it at all */
	const char *name; /* begins Patroni's sentences */
	/* Patroni's body; NULL under /v1, where `call` and `fields` say what it is. */
	unsigned (*read)(json_t *body, const struct view *view, uint64_t wall_ms,
			 struct action_call *out, struct http_answer *answer);
	Mha__Client__Request__CallCase call;
	const struct action_field *fields;
};

/* What was asked for, until its end is told. */
struct action_call {
	const struct action *action;
	struct call call; /* without id and via; of no kind where `reload` is set */
	bool reload;      /* of this agent, by its master */
	enum role needs;
	uint64_t wait_ms;            /* the client waits no longer for the end; 0: it did not say */
	char wanted[NODE_NAME_SIZE]; /* the candidate as it was named; empty: any */
	/* After CALL_ACCEPTED: what ends it. */
	uint64_t operation; /* 0: the promotion of `epoch` */
	uint64_t epoch;
};

/* NULL: there is no such action. `method` may be any text. */
const struct action *action_find(const char *method, const char *path);
/* Each of them, for whoever describes them. NULL: behind the last one. */
const struct action *action_at(size_t at);

/*
 * Read the body. 0: `out` is the call and what role it needs. Otherwise the status, and `answer`
 * says what is wrong.
 */
unsigned action_read(const struct action *action, const char *body, size_t size,
		     const struct view *view, uint64_t wall_ms, struct action_call *out,
		     struct http_answer *answer);

/* Its end came. True: `answer` is made. False: the operation goes on, see action_look(). */
bool action_end(struct action_call *asked, const struct view *view,
		const struct call_result *result, struct http_answer *answer);
/* True: the operation is over as well, and `answer` is made. */
bool action_look(const struct action_call *asked, const struct view *view,
		 struct http_answer *answer);
/* The master's word about a reload: 0, or why the old configuration stays. */
void action_reloaded(const struct action_call *asked, const struct view *view, int code,
		     struct http_answer *answer);
/* It is not known how it ended. */
void action_lost(const struct action_call *asked, unsigned seconds, struct http_answer *answer);

/* Something is wrong: a sentence as Patroni tells it, or as /v1 does. */
void action_refuse(const struct action *action, struct http_answer *answer, enum problem problem,
		   const char *format, ...) PRINTF_LIKE(4, 5);
/* A sentence as the body. */
void action_answer(struct http_answer *answer, unsigned status, const char *format, ...)
	PRINTF_LIKE(3, 4);

/*
 * "2026-01-31T12:00[:00[.5]](Z|+01:00)", a blank for the T: ms since 1970. False on anything else;
 * *zone tells whether only the time zone is missing.
 */
bool action_parse_time(const char *text, uint64_t *ms, bool *zone);

#endif
