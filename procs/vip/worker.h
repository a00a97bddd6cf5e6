/* The vip worker's state and what happens in its loop; main.c only starts it. */
#ifndef MHA_VIP_WORKER_H
#define MHA_VIP_WORKER_H

#include "worker/worker.h"

extern const struct worker_ops VIP_OPS;

#endif
