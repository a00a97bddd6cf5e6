/* mha-dbctl: starts, stops, configures, rewinds and clones the local database. A closed set. */
#ifndef MHA_DBCTL_DBCTL_H
#define MHA_DBCTL_DBCTL_H

#include "worker/worker.h"

extern const struct worker_ops DBCTL;

#endif
