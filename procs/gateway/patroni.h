/* The bodies that Patroni's HTTP clients know, made from the view. */
#ifndef MHA_GATEWAY_PATRONI_H
#define MHA_GATEWAY_PATRONI_H

#include <jansson.h>

#include "view/view.h"

/* Order and numbers are Patroni's and do not change (its metric patroni_postgres_state). */
enum patroni_state {
	PATRONI_INITDB = 0,
	PATRONI_CREATING_REPLICA = 4,
	PATRONI_RUNNING = 5,
	PATRONI_STARTING = 6,
	PATRONI_STOPPED = 12,
	PATRONI_CRASHED = 14,
	PATRONI_UNKNOWN = -1,
};

/* Patroni's role of a member: "primary"/"replica" of the database, as on /patroni. */
const char *patroni_role(const struct view *view);
/* What Patroni would call this member's state; PATRONI_UNKNOWN has no number. */
enum patroni_state patroni_state(const struct view_member *member);
const char *patroni_state_name(enum patroni_state state);
/* This node counts for commits: "each of S" is Patroni's sync standby, "k of S" its quorum one. */
bool patroni_is_sync(const struct view *view);
bool patroni_is_quorum(const struct view *view);
/* Seconds since 1970 at which the consensus was last in touch with its leader; 0: never. */
uint64_t patroni_dcs_last_seen(const struct view *view);
/* Nobody is known to lead. */
bool patroni_unlocked(const struct view *view);

/* New references; NULL when memory ran out. `tags` are the ones that queries may ask for. */
json_t *patroni_tags(const struct view *view);
json_t *patroni_node_json(const struct view *view);
json_t *patroni_cluster_json(const struct view *view, const char *http_listen);
json_t *patroni_history_json(const struct view *view);

#endif
