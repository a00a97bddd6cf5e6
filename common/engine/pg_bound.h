/*
 * What PostgreSQL and its programs can reach, whatever their user could (Landlock): they read what
 * the user may read, write where the database lives, and execute what the system has installed.
 * dbctl itself is not bound: a bound process cannot see which program a server of an earlier life
 * runs (docs/decisions/0011-sandbox.md).
 */
#ifndef MHA_ENGINE_PG_BOUND_H
#define MHA_ENGINE_PG_BOUND_H

#include "conf/conf.h"
#include "engine/child.h"

/*
 * The ruleset (close-on-exec) of what is there now: the data directory's parent, its WAL and
 * tablespaces wherever they are, sandbox.write_paths. -1: none is wanted, or this kernel has none
 * and none is required; or an error.
 */
MUST_CHECK int pg_bound_make(const struct conf *conf, int *ruleset, struct err *why);

/* child_start() of a program that is bound. */
MUST_CHECK int pg_bound_start(const struct conf *conf, struct child **child, uv_loop_t *loop,
			      const struct child_spec *spec, const struct child_events *events,
			      void *arg, struct err *why);

#endif
