/* The words of procs/workers.def about what a worker can reach and use up. */
#ifndef MHA_OS_SANDBOX_H
#define MHA_OS_SANDBOX_H

#include <stdint.h>

/* Beside its own sockets in run_dir/bus; made into paths by common/worker/confine.c. */
enum sandbox_files {
	FILES_NONE = 0,
	FILES_RAFT = 1 << 0,   /* state_dir/raft, to write */
	FILES_STATUS = 1 << 1, /* run_dir/status, to read */
	FILES_CLIENT = 1 << 2, /* run_dir/client: sockets */
	FILES_PROC = 1 << 3,   /* /proc and control groups, to read what every user may */
	FILES_NAMES = 1 << 4,  /* what libraries look up: users, TLS defaults */
	FILES_ENGINE = 1 << 5, /* unbound itself; what it starts is bound (engine) */
};

/* TCP ports, of the configuration. */
enum sandbox_ports {
	PORTS_NONE = 0,
	PORTS_PEERS = 1 << 0,   /* listens for the other agents and connects to them */
	PORTS_CLIENTS = 1 << 1, /* listens for clients; connects to nobody */
	PORTS_ANY = 1 << 2,
};

/* Resource limits; 0: what the service has, because the database would inherit it. */
struct sandbox_limits {
	uint32_t files;      /* open descriptors */
	uint32_t threads;    /* of its user, over all agents of the host */
	uint32_t memory_mib; /* data; not with a sanitizer */
	uint32_t file_mib;   /* size of a file that it writes, its log included */
};

#endif
