/* mha-dbmon: watches the local database, reports facts, runs SQL orders. It executes nothing. */
#ifndef MHA_DBMON_DBMON_H
#define MHA_DBMON_DBMON_H

#include "worker/worker.h"

extern const struct worker_ops DBMON;

#endif
