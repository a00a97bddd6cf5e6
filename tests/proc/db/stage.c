/*
 * One node's mha-dbctl and mha-dbmon without a master and without consensus: a stage on which a
 * test plays consensus. Started as root:
 *
 *   stage BIN_DIR RUN_DIR CONF_FILE SECRET DBCTL_USER DBMON_USER
 *
 * Commands on standard input, one per line:
 *   order KIND id=N epoch=N promise=N upstream=N members=N need=N keep=0|1 reserve=N lease_ms=N
 *   watch FOR_MS EVERY_MS
 *   start WORKER | stop WORKER | kill WORKER         WORKER: dbctl, dbmon
 * Answers on standard output, one JSON object per line, each with "t" (CLOCK_BOOTTIME, ns).
 * The end of the input ends the workers in good order.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "core/cluster.h"
#include "core/order.h"
#include "os/clock.h"
#include "os/control.h"
#include "os/memfd.h"
#include "wire/bus.h"
#include "wire/convert.h"

struct actor {
	const char *name; /* "dbctl" */
	const char *user;
	pid_t pid; /* 0: not running */
	int control;
	int status; /* the section's file, kept over restarts as the master keeps it */
};

static struct stage {
	const char *bin_dir;
	const char *run_dir;
	const char *conf_path; /* read anew for each start */
	int conf;
	int secret;
	struct actor dbctl, dbmon;
	struct bus *bus;
	uv_loop_t loop;
	char line[1024];
	size_t used;
} stage;

static void die(const char *what)
{
	fprintf(stderr, "stage: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int sealed_file(const char *path)
{
	static char text[65536];
	FILE *file = fopen(path, "re");
	struct err why;
	size_t size;
	int fd;

	if (file == NULL)
		die(path);
	size = fread(text, 1, sizeof(text), file);
	fclose(file);
	fd = memfd_sealed("conf", text, size, &why);
	if (fd < 0) {
		fprintf(stderr, "stage: %s\n", why.text);
		exit(1);
	}
	return fd;
}

/* Descriptors of the worker, as worker/worker.h wants them. */
static void become(const struct actor *actor, int control)
{
	const struct passwd *user = getpwnam(actor->user);
	const int from[] = {control, stage.conf, actor->status, -1, stage.secret};
	int high[COUNT_OF(from)];
	char program[512];

	if (user == NULL)
		die(actor->user);
	for (size_t i = 0; i < COUNT_OF(from); i++)
		high[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD, 64);
	for (size_t i = 0; i < COUNT_OF(from); i++) {
		if (high[i] >= 0 && dup2(high[i], 3 + (int)i) < 0)
			die("dup2");
	}
	closefrom(8);
	if (initgroups(user->pw_name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0 ||
	    setuid(user->pw_uid) < 0)
		die("become another user");
	snprintf(program, sizeof(program), "%s/mha-%s", stage.bin_dir, actor->name);
	execl(program, program, (char *)NULL);
	die(program);
}

static void start_actor(struct actor *actor)
{
	int pair[2];

	if (actor->pid != 0)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	actor->pid = fork();
	if (actor->pid < 0)
		die("fork");
	if (actor->pid == 0)
		become(actor, pair[1]);
	close(pair[1]);
	actor->control = pair[0];
}

static void end_actor(struct actor *actor, bool orderly)
{
	struct err why;
	int status = 0;

	if (actor->pid == 0)
		return;
	if (!orderly || control_send(actor->control, CONTROL_STOP, 0, -1, &why) < 0)
		kill(actor->pid, SIGKILL);
	waitpid(actor->pid, &status, 0);
	printf("{\"t\":%" PRIu64 ",\"ended\":\"%s\",\"status\":%d}\n", clock_boot_ns(), actor->name,
	       status);
	fflush(stdout);
	close(actor->control);
	actor->pid = 0;
}

static void print_facts(const Mha__Bus__Facts *message)
{
	struct facts facts;
	struct err why;

	if (facts_from_message(message, &facts, &why) < 0) {
		printf("\"invalid\":\"%s\"", why.text);
		return;
	}
	printf("\"fault\":\"%s\",\"damaged\":%d,", db_fault_name(facts.fault), facts.damaged);
	printf("\"db\":\"%s\",\"system_id\":%" PRIu64 ",\"timeline\":%" PRIu32
	       ",\"flushed\":%" PRIu64 ",\"replayed\":%" PRIu64 ",\"receiving\":%d,\"upstream\":%u"
	       ",\"promise\":%" PRIu64 ",\"epoch\":%" PRIu64 ",\"members\":%u,\"need\":%u"
	       ",\"rule_since\":%" PRIu64 ",\"branches\":[",
	       db_state_name(facts.db), facts.system_id, facts.position.timeline,
	       facts.position.flushed, facts.position.replayed, facts.receiving, facts.upstream,
	       facts.promise, facts.config_epoch, facts.rule.members, facts.rule.need,
	       facts.rule_since);
	for (unsigned i = 0; i < facts.position.branch_count; i++)
		printf("%s[%" PRIu32 ",%" PRIu64 "]", i > 0 ? "," : "",
		       facts.position.branches[i].timeline, facts.position.branches[i].end);
	printf("],\"standbys\":[");
	for (unsigned i = 0; i < facts.standby_count; i++)
		printf("%s[%u,%d,%" PRIu64 "]", i > 0 ? "," : "", facts.standbys[i].node,
		       facts.standbys[i].streaming, facts.standbys[i].flushed);
	printf("],\"detail\":\"%s\"", message->detail);
}

static void print_text(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text >= ' ' ? *text : ' ');
	}
	putchar('"');
}

static void on_message(void *arg, enum route_id route, const ProtobufCMessage *message)
{
	const void *any = message;

	UNUSED(arg);
	printf("{\"t\":%" PRIu64 ",", clock_boot_ns());
	if (route == ROUTE_FACTS) {
		const Mha__Bus__FactsReport *report = any;

		printf("\"facts\":{");
		print_facts(report->facts);
		printf("}");
	} else if (route == ROUTE_JOB) {
		const Mha__Bus__Job *job = any;

		printf("\"job\":\"%s\",\"done\":%" PRIu64 ",\"total\":%" PRIu64
		       ",\"directory\":%u,\"postmaster\":%u,\"incarnation\":%" PRIu64
		       ",\"whole_timeline\":%u,\"whole_from\":%" PRIu64 ",\"damaged\":%" PRIu64
		       ",\"text\":",
		       db_job_name(job->job), job->done, job->total, job->directory,
		       job->postmaster, job->incarnation, job->whole_timeline, job->whole_from,
		       job->damaged);
		print_text(job->text);
	} else if (route == ROUTE_RESULT_DBCTL || route == ROUTE_RESULT_DBMON) {
		const Mha__Bus__OrderResult *result = any;

		printf("\"result\":%" PRIu64 ",\"outcome\":%u,\"text\":", result->order_id,
		       result->outcome);
		print_text(result->text);
		if (result->facts != NULL) {
			printf(",\"facts\":{");
			print_facts(result->facts);
			printf("}");
		}
	}
	printf("}\n");
	fflush(stdout);
}

static unsigned kind_of(const char *name)
{
	for (unsigned kind = 1; kind < ORDER_KIND_COUNT; kind++) {
		if (strcmp(order_kind_name(kind), name) == 0)
			return kind;
	}
	return ORDER_NONE;
}

static void take_field(struct order *order, const char *key, uint64_t value)
{
	if (strcmp(key, "id") == 0)
		order->id = value;
	else if (strcmp(key, "epoch") == 0)
		order->epoch = value;
	else if (strcmp(key, "promise") == 0)
		order->promise = value;
	else if (strcmp(key, "upstream") == 0)
		order->upstream = (node_id)value;
	else if (strcmp(key, "members") == 0)
		order->rule.members = (node_set)value;
	else if (strcmp(key, "need") == 0)
		order->rule.need = (uint8_t)value;
	else if (strcmp(key, "keep") == 0)
		order->keep_rule = value != 0;
	else if (strcmp(key, "reserve") == 0)
		order->reserve_until = (uint32_t)value;
	else if (strcmp(key, "lease_ms") == 0)
		order->lease_until_ns = clock_boot_ns() + value * 1000000;
}

static void command_order(char *kind, char *rest)
{
	struct order order = {.kind = (uint8_t)kind_of(kind)};
	struct order_message message;
	struct err why;
	char *next = NULL;

	for (char *pair = strtok_r(rest, " ", &next); pair != NULL;
	     pair = strtok_r(NULL, " ", &next)) {
		char *equals = strchr(pair, '=');
		uint64_t value;

		if (equals == NULL || !text_parse_u64(equals + 1, &value))
			continue;
		*equals = '\0';
		take_field(&order, pair, value);
	}
	order_to_message(&order, &message);
	if (bus_send(stage.bus,
		     order_executor(order.kind) == EXECUTOR_DBCTL ? ROUTE_ORDER_DBCTL
								  : ROUTE_ORDER_DBMON,
		     &message.order.base, &why) < 0) {
		printf("{\"t\":%" PRIu64 ",\"unsent\":%" PRIu64 "}\n", clock_boot_ns(), order.id);
		fflush(stdout);
	}
}

static void command(char *line)
{
	char *rest = NULL;
	char *verb = strtok_r(line, " ", &rest);
	char *first = verb == NULL ? NULL : strtok_r(NULL, " ", &rest);
	struct actor *actor;

	if (first == NULL)
		return;
	actor = strcmp(first, "dbctl") == 0 ? &stage.dbctl : &stage.dbmon;
	if (strcmp(verb, "order") == 0) {
		command_order(first, rest);
	} else if (strcmp(verb, "watch") == 0) {
		Mha__Bus__Watch watch;
		struct err why;

		mha__bus__watch__init(&watch);
		watch.until_ns = clock_boot_ns() + strtoull(first, NULL, 10) * 1000000;
		watch.interval_ms = (uint32_t)strtoul(rest, NULL, 10);
		(void)(bus_send(stage.bus, ROUTE_WATCH, &watch.base, &why) < 0);
	} else if (strcmp(verb, "start") == 0) {
		close(stage.conf);
		stage.conf = sealed_file(stage.conf_path);
		start_actor(actor);
	} else if (strcmp(verb, "stop") == 0) {
		end_actor(actor, true);
	} else if (strcmp(verb, "kill") == 0) {
		end_actor(actor, false);
	}
}

static void on_input(uv_poll_t *poll, int status, int events)
{
	ssize_t got = read(0, stage.line + stage.used, sizeof(stage.line) - 1 - stage.used);
	char *end;

	UNUSED(status);
	UNUSED(events);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		uv_poll_stop(poll);
		uv_stop(&stage.loop);
		return;
	}
	stage.used += (size_t)got;
	stage.line[stage.used] = '\0';
	while ((end = strchr(stage.line, '\n')) != NULL) {
		const size_t length = (size_t)(end - stage.line) + 1;

		*end = '\0';
		command(stage.line);
		memmove(stage.line, stage.line + length, stage.used - length + 1);
		stage.used -= length;
	}
}

static void make_directory(const char *path, const char *user)
{
	const struct passwd *row = getpwnam(user);

	if (row == NULL)
		die(user);
	if ((mkdir(path, 0755) < 0 && errno != EEXIST) ||
	    chown(path, row->pw_uid, row->pw_gid) < 0 || chmod(path, 0777) < 0)
		die(path);
}

/* bus/TO/FROM for the three that play; everybody may connect. */
static void make_bus(void)
{
	const struct {
		const char *name, *user;
	} players[] = {
		{"consensus", "root"}, {"dbctl", stage.dbctl.user}, {"dbmon", stage.dbmon.user}};
	char path[512];

	snprintf(path, sizeof(path), "%s/bus", stage.run_dir);
	make_directory(path, "root");
	for (size_t to = 0; to < COUNT_OF(players); to++) {
		snprintf(path, sizeof(path), "%s/bus/%s", stage.run_dir, players[to].name);
		make_directory(path, players[to].user);
		for (size_t from = 0; from < COUNT_OF(players); from++) {
			snprintf(path, sizeof(path), "%s/bus/%s/%s", stage.run_dir,
				 players[to].name, players[from].name);
			make_directory(path, players[to].user);
		}
	}
}

static int status_file(const char *name)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/status", stage.run_dir);
	make_directory(path, "root");
	snprintf(path, sizeof(path), "%s/status/%s", stage.run_dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		die(path);
	return fd;
}

int main(int argc, char **argv)
{
	struct err why;
	uv_poll_t input;

	if (argc != 7) {
		fprintf(stderr, "usage: stage BIN_DIR RUN_DIR CONF_FILE SECRET DBCTL_USER "
				"DBMON_USER\n");
		return 2;
	}
	log_open("stage", "consensus", LOG_WARNING);
	signal(SIGPIPE, SIG_IGN);
	stage.bin_dir = argv[1];
	stage.run_dir = argv[2];
	stage.conf_path = argv[3];
	stage.conf = sealed_file(argv[3]);
	stage.secret = memfd_sealed("secret", argv[4], strlen(argv[4]), &why);
	stage.dbctl = (struct actor){.name = "dbctl", .user = argv[5]};
	stage.dbmon = (struct actor){.name = "dbmon", .user = argv[6]};
	make_bus();
	stage.dbctl.status = status_file("dbctl");
	stage.dbmon.status = status_file("dbmon");
	umask(0);
	if (stage.secret < 0 || uv_loop_init(&stage.loop) != 0)
		die("start");
	if (bus_open(&stage.bus, &stage.loop, stage.run_dir, WORKER_consensus, on_message, NULL,
		     &why) < 0) {
		fprintf(stderr, "stage: %s\n", why.text);
		return 1;
	}
	start_actor(&stage.dbctl);
	start_actor(&stage.dbmon);
	CHECK(uv_poll_init(&stage.loop, &input, 0) == 0);
	CHECK(uv_poll_start(&input, UV_READABLE | UV_DISCONNECT, on_input) == 0);
	uv_run(&stage.loop, UV_RUN_DEFAULT);
	end_actor(&stage.dbmon, true);
	end_actor(&stage.dbctl, true);
	bus_close(stage.bus);
	uv_run(&stage.loop, UV_RUN_NOWAIT);
	return 0;
}
