/*
 * A world of whole clusters: virtual time, real libraft, raftnode and core, simulated disks,
 * network, executors, databases and clients. Same seed, same history.
 *
 * True time counts in ns from 0. Every host has its own CLOCK_BOOTTIME, which runs a little fast
 * or slow and begins anew at each boot. Nothing here is shared with the outside; one world per
 * process.
 */
#ifndef MHA_SIM_H
#define MHA_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/agent.h"
#include "raftnode/raftnode.h"
#include "vip/serve.h"

#define US          UINT64_C(1000)
#define MS          UINT64_C(1000000)
#define SEC         UINT64_C(1000000000)
#define HOSTS       (NODES_MAX + 1) /* by node id; 0 is not used */
#define CLIENTS     4
#define TIMELINES   512
#define EVENT_NEVER UINT64_MAX

/* What is to happen; `host`, `generation` and the rest say to whom. */
enum event_what {
	AT_RAFT_TICK = 1, /* consensus: libraft's timer */
	AT_AGENT_TICK,    /* consensus: the shell's timer */
	AT_RAFT_DISK,     /* consensus: a disk request has ended */
	AT_MESSAGE,       /* consensus: a peer's message arrives */
	AT_BUS,           /* consensus: an executor's report arrives */
	AT_ORDER,         /* executor: an order or a grant arrives */
	AT_WORK,          /* executor: a step of its present order is over */
	AT_PROBE,         /* dbmon: looks at the database */
	AT_VIP_CHECK,     /* vip: looks whether the kernel has closed the fence */
	AT_PG_FLUSH,      /* database: WAL up to `lsn` is on disk */
	AT_PG_READY,      /* database: recovery has ended, it answers */
	AT_PG_PROMOTE,    /* database: the promotion that was asked for */
	AT_PG_RELOAD,     /* database: the postmaster reads its configuration */
	AT_PG_RULE,       /* database: one walsender (or the checkpointer) has read it */
	AT_PG_CONNECT,    /* database: the walreceiver tries its upstream */
	AT_PG_WAL,        /* standby: WAL up to `lsn` arrives */
	AT_PG_STORED,     /* standby: WAL up to `lsn` is on disk */
	AT_PG_REPLY,      /* primary: a standby says what it has flushed */
	AT_PG_CHORE,      /* database: WAL without a commit; streams that stand still */
	AT_CLIENT,        /* client: sends a write, or gives up */
	AT_ARRIVAL,       /* the write arrives at a host */
	AT_PROCESS_UP,    /* a process is started again */
	AT_HOST_UP,       /* a host boots */
	AT_FAULT,         /* the next fault */
	AT_MEND,          /* a fault ends */
	AT_LEAVING,       /* an orderly stop of the agent goes on */
	AT_HUMAN,         /* is a human's promotion fenced by now? */
	AT_OPERATOR,      /* operators look after the healed cluster, or wait for an answer */
	AT_STORY,         /* the story that is told goes on */
	AT_HEAL,          /* all faults end */
	AT_VERDICT,       /* has the healed cluster come back? */
};

struct event {
	uint64_t at;
	uint64_t order; /* events at the same instant keep the order in which they were made */
	uint8_t what;   /* enum event_what */
	uint8_t host;
	uint8_t part;        /* executor, peer, client or kind of fault */
	uint32_t generation; /* of the process or connection that it is for */
	uint64_t lsn;        /* or another number */
	void *data;          /* owned by the event */
};

enum process { PROCESS_CONSENSUS = EXECUTOR_COUNT, PROCESS_COUNT };

/* --- a host's network and raft messages --- */

enum packet_kind { PACKET_RAFT = 1, PACKET_HEARD, PACKET_SURVEY, PACKET_ANSWER, PACKET_FACTS };

struct packet {
	uint8_t kind; /* enum packet_kind */
	node_id from;
	uint64_t sent_ns;
	uint64_t term;
	union {
		struct raft_message raft;
		struct survey_request survey;
		struct survey_reply answer;
		struct facts facts;
	};
};

/* --- a member's Raft log on a simulated disk (memraft.c) --- */

struct disk_entry {
	uint64_t term;
	unsigned short type;
	void *bytes;
	size_t size;
};

struct disk_request;

struct disk {
	/* What a crash leaves. */
	uint64_t term;
	uint64_t vote;
	uint64_t first; /* index of entries[0] */
	struct disk_entry *entries;
	unsigned count;
	unsigned room;
	unsigned durable; /* entries that survive a crash */
	bool has_snapshot;
	uint64_t snapshot_index;
	uint64_t snapshot_term;
	uint64_t snapshot_conf_index;
	struct raft_configuration snapshot_conf;
	void *snapshot_bytes;
	size_t snapshot_size;
	/* Requests under way, oldest first. */
	struct disk_request *pending;
	uint64_t busy_until;
};

/* --- a database (pg.c) --- */

enum pg_state { PG_ABSENT = 0, PG_STOPPED, PG_RECOVERING, PG_STANDBY, PG_PRIMARY };

struct pg_config {
	uint64_t promise;
	uint64_t epoch;
	node_id upstream;
	struct sync_rule rule;
};

struct wal_sender {
	bool on;
	uint32_t connection;
	wal_lsn sent;
	wal_lsn acknowledged;
	uint64_t last_at; /* the stream delivers in order */
	struct sync_rule rule;
};

struct pg {
	enum pg_state state;
	bool broken; /* the data directory cannot be started */
	bool hung;
	bool stuck;          /* what arrives is not flushed */
	bool human;          /* promoted behind the agent's back */
	uint32_t generation; /* of the server processes */
	/* The WAL: wal[i] is the record (an index into world.records) that ends at LSN i + 1. */
	uint32_t *wal;
	uint32_t room;
	wal_lsn inserted;
	wal_lsn flushed;
	wal_lsn consistent_at;  /* a rewound or cloned copy is whole from here on */
	uint32_t consistent_on; /* its source's timeline */
	struct wal_branch branches[WAL_HISTORY_MAX]; /* where the timeline changes in wal[] */
	uint8_t branch_count;
	uint32_t timeline; /* that it writes, or of the last record */
	uint64_t system_id;
	bool history[TIMELINES]; /* history files in pg_wal */
	uint32_t checkpointed;   /* timeline of the last checkpoint */
	struct pg_config disk;
	struct pg_config loaded;
	bool reload_pending;
	/* Primary */
	struct wal_sender senders[HOSTS];
	uint64_t proven_at; /* from '' to names: when the checkpoint has ended that proves it */
	bool sync_defined;  /* the checkpointer has told the backends that commits wait */
	wal_lsn released;   /* commits up to here need not wait any more */
	bool promoting;
	/* Standby */
	bool receiving;
	node_id receiving_from;
	uint32_t connection;
	wal_lsn written;
	uint64_t silent_since; /* the stream stands still */
};

/* --- a host's kernel (vip.c) and its executors (executors.c) --- */

/* What the kernel enforces, whoever else is dead or stopped. */
struct kernel {
	uint8_t fence;     /* enum fence_state; OPEN and CLIENTS only until `until_ns` */
	uint64_t epoch;    /* what the element's comment says */
	uint64_t until_ns; /* by the host's clock */
};

struct executor_state {
	bool up;
	uint32_t generation;
	uint64_t epoch_seen;
	bool busy;
	struct order order; /* under way */
	uint64_t since;
	uint32_t step;
	uint32_t ticket; /* of the order under way: steps of dropped ones do not count */
};

/* --- a host --- */

struct host {
	node_id id;
	bool data; /* has a database */
	bool up;
	uint32_t boot;
	int64_t clock_offset;
	int64_t clock_ppm;
	int64_t wall_ms;                      /* its wall clock is off by so much */
	uint64_t frozen_until[PROCESS_COUNT]; /* true time; 0: it runs */

	/* consensus */
	bool consensus_up;
	uint32_t consensus_life;
	struct raftnode *raftnode;
	struct raft_io io;
	raft_io_tick_cb raft_tick;
	unsigned raft_tick_ms;
	struct disk disk;
	/* Published in the status segment; lost with a reboot. */
	uint64_t segment_term;
	uint64_t segment_until_ns;
	uint64_t lease_true_until; /* of the lease that the agent was told last; true time */
	uint64_t slow_facts;       /* its facts take so much longer */
	const char *why;           /* the leader's row that was taken last */

	struct executor_state executors[EXECUTOR_COUNT];
	struct kernel kernel;
	struct serve serve; /* the vip process */
	uint8_t job;
	struct wal_branch whole_from; /* as dbctl told it last */
	uint8_t alarm;     /* enum db_fault: something is wrong, but the database answers */
	bool lost;         /* its data are gone, and have not been rebuilt since */
	uint64_t proof_at; /* since when the rule has not been in force everywhere */
	struct facts probed;
	bool probed_once;
	uint64_t leaving_since;
	uint64_t hang_seen; /* since when probes get no answer */
	struct sync_rule rule_seen;
	wal_lsn rule_since;
	uint32_t rule_generation;          /* of the server in which it was seen */
	uint64_t order_at[EXECUTOR_COUNT]; /* orders and grants arrive in order */
	uint64_t bus_at;
	struct pg pg;
};

struct client {
	node_id at; /* where its write waits; NODE_NONE: it has none */
	uint32_t generation;
	uint32_t pg_generation;
	wal_lsn lsn;
	uint32_t record;
	uint64_t since;
	bool watched; /* an event looks whether it waits for too long */
};

/* One WAL record of any database at any time. */
struct record {
	uint32_t timeline;
	bool commit;
	bool acknowledged; /* its client was told */
	wal_lsn lsn;       /* where it stands in its timeline */
	uint64_t epoch;    /* primary's epoch when it was written */
	uint64_t told_at;  /* when its client was told */
};

enum fault_kind {
	FAULT_HOST_CRASH = 0,
	FAULT_DB_CRASH,
	FAULT_DB_HANG,
	FAULT_FREEZE_AGENT,
	FAULT_FREEZE_CONSENSUS,
	FAULT_KILL_CONSENSUS,
	FAULT_KILL_EXECUTOR,
	FAULT_KILL_AGENT,
	FAULT_SPLIT,   /* two sides, both ways */
	FAULT_ISOLATE, /* one host from all others */
	FAULT_ONE_WAY, /* one direction of one pair */
	FAULT_PAIR,    /* both directions of one pair, for long */
	FAULT_BAD_NET, /* loss, duplicates, delays everywhere */
	FAULT_SLOW_DISK,
	FAULT_LEAVE,         /* an orderly stop of the agent */
	FAULT_HUMAN_PROMOTE, /* pg_ctl promote behind the agent's back */
	FAULT_OPERATOR,      /* an operator asks for something */
	FAULT_CLOCK,         /* a wall clock jumps */
	FAULT_DATA_LOST,     /* a data directory is gone */
	FAULT_STUCK,         /* a standby streams and flushes nothing */
	FAULT_SLOW_FACTS,    /* what an agent says of itself arrives late */
	FAULT_ALARM,         /* the database answers, but something is wrong with it */
	FAULT_KIND_COUNT
};

struct options {
	uint64_t seed;
	unsigned data;    /* data nodes */
	unsigned witness; /* witnesses */
	unsigned later;   /* data nodes that are no members in the beginning */
	unsigned seconds; /* with faults; healing comes on top */
	bool trace;
	uint32_t bugs;
	uint32_t faults; /* bits by enum fault_kind: only these, often; 0: a mix by seed */
	uint8_t mode;    /* enum protection_mode; 0: by seed */
	uint8_t story;   /* enum story; no faults but its own */
	uint8_t cuts;    /* STORY_CUTS: which links, bits as in cuts.c */
	uint8_t primary; /* STORY_CUTS: the node that is primary when they are cut */
};

/* Told from a fixed seed, each with its own expectations (story.c). */
enum story { STORY_NONE = 0, STORY_ARBITER_ACCEPT, STORY_ARBITER_RETURN, STORY_CUTS, STORY_COUNT };

/* A call that has been given to an agent. */
struct asked {
	bool open;
	struct call call;
	node_id host;
	uint32_t life; /* of the consensus process that took it */
	uint64_t at;
};

#define ASKED_MAX 32
#define ROWS_MAX  128

/* Over all worlds of this process. */
struct totals {
	uint64_t seeds;
	uint64_t failed;
	uint64_t milliseconds; /* simulated */
	uint64_t events;
	uint64_t acknowledged;
	uint64_t epochs;
	uint64_t joined; /* nodes that became members, and that went */
	uint64_t left;
	uint64_t failovers;   /* promotions that nobody asked for */
	uint64_t switchovers; /* that succeeded */
	uint64_t restarts;    /* of standbys, that succeeded */
	uint64_t rolled_back; /* operations that ended otherwise */
	uint64_t forced;      /* promotions by an operator's failover */
	uint64_t degrades;
	uint64_t restores;
	uint64_t rebuilds;
	uint64_t held;    /* decisions not to promote */
	uint64_t blocked; /* worlds that ended with a named and justified block */
	uint64_t calls;
	uint64_t answers[CALL_CODE_COUNT];
	uint64_t lost;           /* commits, where a loss was allowed */
	uint64_t rows[ROWS_MAX]; /* how often each row of the leader's table was taken */
};

extern struct totals totals;

struct world {
	struct options options;
	uint64_t now;
	uint64_t random;
	struct event *heap;
	unsigned heap_count;
	unsigned heap_room;
	uint64_t event_order;
	uint64_t events_done;

	unsigned total;
	struct host hosts[HOSTS];
	struct agent_config agent;
	uint64_t lease_ns;

	/* Network */
	uint8_t cut[HOSTS][HOSTS]; /* from, to: how many faults cut it */
	unsigned loss_permille;
	unsigned duplicate_permille;
	unsigned delay_us; /* added at random */
	unsigned disk_us;

	/* Databases and clients */
	struct record *records;
	uint32_t record_count;
	uint32_t record_room;
	struct client clients[CLIENTS];
	uint64_t acknowledged;
	uint64_t last_ack;
	uint64_t facts_late; /* the longest that facts were held back in this world */
	uint32_t connections;

	/* Faults */
	uint32_t fault_weight[FAULT_KIND_COUNT];
	uint64_t fault_every;
	unsigned disk_base_us;
	bool healed;
	bool human_was_here;
	bool data_was_lost;
	bool forcing;     /* operators accept losses */
	bool stay_paused; /* nobody ends the pause */
	unsigned story_step;
	uint64_t story_at;
	uint64_t healed_at;
	uint64_t came_back_at;

	/* Operators */
	struct asked asked[ASKED_MAX];
	uint64_t calls;
	node_set accepted_loss; /* nodes to whom a loss was conceded */

	/* Truth, for the checkers */
	struct cluster truth; /* the newest state that anybody applied */
	uint64_t open_epoch;  /* highest epoch whose primary was opened, and who it was */
	node_id open_node;
	uint64_t *state_hash; /* by log index */
	unsigned state_hash_room;

	bool over; /* the story has been told */
	bool failed;
	char failure[1024];
};

extern struct world world;

/* world.c */
void world_run(const struct options *options);
void event_add(uint64_t at, struct event event);
uint64_t random_u64(void);
uint64_t random_below(uint64_t limit); /* [0, limit) */
uint64_t random_between(uint64_t low, uint64_t high);
bool random_permille(unsigned permille);
uint64_t local_ns(const struct host *host);
uint64_t wall_ms(const struct host *host);
/* The first instant at which the host's clock shows `local` or more. */
uint64_t true_ns(const struct host *host, uint64_t local);
void trace(const char *format, ...) PRINTF_LIKE(1, 2);
void fail(const char *format, ...) PRINTF_LIKE(1, 2);

/* net.c */
bool link_open(node_id from, node_id to);
uint64_t link_delay(void);
void packet_send(node_id from, node_id to, struct packet *packet); /* takes it over */
void packet_send_later(node_id from, node_id to, struct packet *packet, uint64_t delay);
void packet_free(struct packet *packet);
struct packet *packet_of_raft(node_id from, const struct raft_message *message, uint64_t sent_ns);

/* memraft.c */
void disk_open(struct host *host); /* fills host->io */
void disk_done(struct host *host);
/* The process is gone: requests under way end, and what they wrote may be lost. */
void disk_drop(struct host *host);
void disk_free(struct disk *disk);

/* member.c: the consensus process */
void consensus_start(struct host *host);
void consensus_stop(struct host *host);
void consensus_free(struct host *host);
void consensus_packet(struct host *host, struct packet *packet);
void consensus_bus(struct host *host, struct agent_event *event);
/* After each event: the lease goes into the status segment and before the checkers. */
void consensus_publish(struct host *host);
/* Sends `event` from an executor to the consensus process of its host. */
void bus_send(struct host *host, const struct agent_event *event);

/* executors.c */
void executor_start(struct host *host, enum executor who);
void executor_stop(struct host *host, enum executor who);
void executor_order(struct host *host, const struct event *event);
void executor_work(struct host *host, const struct event *event);
void dbmon_probe(struct host *host, bool again);
struct facts dbmon_facts(struct host *host);

/* vip.c */
bool fence_admits(const struct host *host); /* packets to the database port, now */
/* The same for what comes from other members: the fence of a switchover lets it through. */
bool fence_admits_members(const struct host *host);
bool vip_here(const struct host *host);
void vip_start(struct host *host);
void vip_grant(struct host *host, uint64_t epoch, uint64_t until_ns);
void vip_order(struct host *host, const struct order *order);
void vip_check(struct host *host);
void vip_report(struct host *host);

/* pg.c: server processes and replication */
void pg_start(struct host *host);
void pg_ready(struct host *host);
void pg_stop(struct host *host);             /* orderly; the shutdown checkpoint is written */
void pg_kill(struct host *host, bool power); /* processes vanish; power: unflushed WAL too */
void pg_configure(struct host *host, const struct pg_config *config, uint32_t reserve_until);
void pg_reload(struct host *host);
void pg_rule(struct host *host, const struct event *event);
void pg_promote(struct host *host);
void pg_chore(struct host *host);
bool pg_answers(const struct host *host);
bool pg_accepts_writes(const struct host *host);
/* WAL */
void pg_found(struct host *host); /* initdb */
void pg_append(struct pg *pg, const uint32_t records[], wal_lsn count);
uint32_t pg_insert(struct host *host, bool commit);
void pg_flush(struct host *host, wal_lsn lsn);
bool pg_contains(const struct pg *pg, wal_lsn lsn, uint32_t record);
wal_lsn pg_common(const struct pg *a, const struct pg *b);
void pg_copy_wal(struct pg *to, const struct pg *from, wal_lsn count);
void pg_cut(struct pg *pg, wal_lsn count);
void pg_position(const struct pg *pg, struct wal_position *position);

/* stream.c: walsender and walreceiver */
bool stream_connect(struct host *host);
void stream_disconnect(struct host *host);
void stream_drop_senders(struct host *host);
void stream_push(struct host *host);
void stream_drain(struct host *host);
void stream_wal(struct host *host, const struct event *event);
void stream_stored(struct host *host, const struct event *event);
void stream_reply(struct host *host, const struct event *event);
void stream_retry(struct host *host);

/* clients.c */
void client_turn(unsigned index, uint32_t generation);
void client_watch(unsigned index);
void client_arrival(struct host *host, const struct event *event);
void client_release(struct host *host, wal_lsn upto);
void client_abandon(struct host *host); /* the server has ended its sessions */

/* faults.c */
/* "host_crash" etc.; FAULT_KIND_COUNT for a word that is none. */
enum fault_kind fault_named(const char *name, size_t size);
void faults_plan(void);
void fault_next(void);
void fault_mend(const struct event *event);
void faults_heal(void);
void host_down(struct host *host); /* loses power, and stays so */
void leaving(struct host *host);
void host_boot(struct host *host);
void process_up(struct host *host, const struct event *event);

/* operators.c */
void operator_act(void);
void operator_turn(const struct event *event);
void operator_answered(const struct host *host, const struct call_result *result);
/* Gives `call` to the agent of `host`; returns its id. */
uint64_t operator_ask(struct host *host, struct call call);
struct host *leading_host(void); /* NULL: none */

/* story.c */
enum story story_named(const char *name);
void story_begin(void);
void story_turn(void);

/* cuts.c: any set of the six directed links between three nodes is cut, held and healed */
#define CUT_SETS 64
void cuts_turn(void);

/* losses.c: what a promotion may lose, and what each entry of the log may do */
void check_entry(const struct cluster *before, const struct cluster *after,
		 const struct entry *entry);
uint64_t lost_by(const struct pg *pg);
/* The healed cluster does not serve, for a reason that it names and that is true. */
bool check_blocked(void);

/* checkers.c */
void check_lease(struct host *host, const struct raft_view *view);
void check_accepting(struct host *host);
void check_grant(struct host *host, uint64_t epoch, uint64_t until_ns);
void check_applied(struct host *host, uint64_t index, const struct entry *entry);
void check_rule(const struct host *host);
void check_acknowledged(struct host *host, wal_lsn lsn, uint32_t record);
void check_opened(struct host *host, uint64_t epoch);
void check_rebuild(const struct host *host);
void check_human(struct host *host, const struct event *event);
bool check_healthy(char *what, size_t size);

#endif
