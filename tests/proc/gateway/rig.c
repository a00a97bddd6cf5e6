/*
 * Stands in for the master and for every worker but the gateway: makes the run directory, starts
 * mha-gateway as the master does, writes status sections and sends events over the bus.
 *
 *   gateway_rig GATEWAY RUN_DIR CONFIG [ACCESS]
 *
 * ACCESS: a directory with what the master would hand over: key, clients, users, certificate,
 * tls_key and ca, each of which may be missing.
 *
 * Lines on stdin, one answer line each ("ok ..." or "error ..."):
 *   start               start the gateway; answers its pid
 *   set NAME VALUE      change the state (rig_state.c has the names)
 *   publish             write all sections, stamped now
 *   live MS             write them again every MS ms (0: no more)
 *   event INDEX SUB NAME JSON
 *   answer CODE KIND NODE OPERATION   how calls end from now on: call_code, a blocker (0: none)
 *   answer none         they have no end
 *   calls               how many came, and the last one: COUNT KIND NODE DRY_RUN LOSS MODE K ON
 *   reload              send what is in ACCESS, and the configuration, again
 *   reloaded CODE       how a reload that was asked for has ended: 0, or an error without its sign
 *   stop                ask the gateway to stop; answers its exit status
 *   reap                the gateway has ended by itself: wait for it
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "access/bundle.h"
#include "base/check.h"
#include "base/macros.h"
#include "base/text.h"
#include "bus.pb-c.h"
#include "conf/conf.h"
#include "os/clock.h"
#include "os/control.h"
#include "os/memfd.h"
#include "rig_state.h"
#include "wire/bus.h"
#include "wire/convert.h"

#define LINE_MAX_BYTES 20000

struct rig {
	const char *gateway;
	const char *run_dir;
	const char *access; /* NULL: none */
	struct conf conf;
	uv_loop_t loop;
	uv_poll_t input;
	uv_timer_t live;
	struct bus *bus;
	struct status_map maps[STATUS_SECTION_COUNT];
	int gateway_fd; /* its status section */
	struct rig_state state;
	bool silent; /* calls have no end */
	struct call_result end;
	unsigned calls;
	struct call call; /* the last one */
	int control;      /* to the gateway; -1: not running */
	pid_t pid;
	char line[LINE_MAX_BYTES];
	size_t length;
	char answer[600]; /* what follows "ok" or "error" */
};

static void die(const char *what)
{
	fprintf(stderr, "gateway_rig: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void make_directory(const char *path)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		die(path);
}

static void make_layout(const struct rig *rig)
{
	char path[256];

	make_directory(rig->run_dir);
	snprintf(path, sizeof(path), "%s/status", rig->run_dir);
	make_directory(path);
	snprintf(path, sizeof(path), "%s/client", rig->run_dir);
	make_directory(path);
	snprintf(path, sizeof(path), "%s/client.sock", rig->run_dir);
	if (symlink("client/client.sock", path) < 0 && errno != EEXIST)
		die(path);
	snprintf(path, sizeof(path), "%s/bus", rig->run_dir);
	make_directory(path);
	for (unsigned to = 0; to < WORKER_COUNT; to++) {
		snprintf(path, sizeof(path), "%s/bus/%s", rig->run_dir,
			 worker_id_name((enum worker_id)to));
		make_directory(path);
		for (unsigned from = 0; from < WORKER_COUNT; from++) {
			snprintf(path, sizeof(path), "%s/bus/%s/%s", rig->run_dir,
				 worker_id_name((enum worker_id)to),
				 worker_id_name((enum worker_id)from));
			make_directory(path);
		}
	}
}

static void make_sections(struct rig *rig)
{
	char path[256];
	struct err why;

	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++) {
		int fd;

		snprintf(path, sizeof(path), "%s/status/%s", rig->run_dir,
			 status_section_name((enum status_section_id)id));
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			die(path);
		if (id == STATUS_GATEWAY) {
			rig->gateway_fd = fd;
			continue;
		}
		if (status_open_fd(&rig->maps[id], (enum status_section_id)id, fd, &why) < 0) {
			fprintf(stderr, "gateway_rig: %s\n", why.text);
			exit(1);
		}
		close(fd);
	}
}

static void publish(struct rig *rig)
{
	rig_state_stamp(&rig->state, clock_boot_ns());
	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++) {
		if (id != STATUS_GATEWAY)
			status_publish(&rig->maps[id],
				       rig_state_section(&rig->state, (enum status_section_id)id));
	}
}

static int conf_memfd(const struct conf *conf)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	struct err why;
	int fd;

	if (to == NULL || conf_print(conf, to, &why) < 0 || fclose(to) != 0)
		die("print the configuration");
	fd = memfd_sealed("configuration", text, size, &why);
	if (fd < 0)
		die(why.text);
	free(text);
	return fd;
}

static void read_part(const struct rig *rig, struct bundle *bundle, enum bundle_part part,
		      const char *name)
{
	char path[256], *text;
	FILE *file;
	size_t size;

	snprintf(path, sizeof(path), "%s/%s", rig->access, name);
	file = fopen(path, "r");
	if (file == NULL)
		return;
	text = calloc(1, BUNDLE_PART_MAX + 1);
	if (text == NULL)
		die(path);
	size = fread(text, 1, BUNDLE_PART_MAX, file);
	fclose(file);
	bundle_put(bundle, part, text, size);
}

/* -1: there is none. */
static int access_memfd(const struct rig *rig)
{
	static const char *const names[BUNDLE_PART_COUNT] = {
		[BUNDLE_CLIENT_KEY] = "key",  [BUNDLE_CLIENTS] = "clients",
		[BUNDLE_USERS] = "users",     [BUNDLE_TLS_CERTIFICATE] = "certificate",
		[BUNDLE_TLS_KEY] = "tls_key", [BUNDLE_TLS_CLIENT_CA] = "ca",
	};
	struct bundle bundle = {.text = {NULL}};
	uint8_t *bytes;
	size_t size;
	struct err why;
	int fd;

	if (rig->access == NULL)
		return -1;
	for (unsigned i = 0; i < BUNDLE_PART_COUNT; i++)
		read_part(rig, &bundle, (enum bundle_part)i, names[i]);
	if (bundle_write(&bundle, &bytes, &size, &why) < 0)
		die(why.text);
	fd = memfd_sealed("access", bytes, size, &why);
	if (fd < 0)
		die(why.text);
	free(bytes);
	bundle_clear(&bundle);
	return fd;
}

static void exec_gateway(const struct rig *rig, int control, int conf)
{
	const int from[] = {control, conf, rig->gateway_fd};
	const int given = access_memfd(rig);
	const int access = given < 0 ? -1 : fcntl(given, F_DUPFD, 64);
	int high[COUNT_OF(from)];

	for (unsigned i = 0; i < COUNT_OF(from); i++)
		high[i] = fcntl(from[i], F_DUPFD, 64);
	for (unsigned i = 0; i < COUNT_OF(from); i++) {
		if (high[i] < 0 || dup2(high[i], 3 + (int)i) < 0)
			_exit(126);
		close(high[i]);
	}
	if (access >= 0) {
		if (dup2(access, 7) < 0)
			_exit(126);
		close(access);
	}
	close(6);
	if (access < 0)
		close(7);
	closefrom(8);
	execl(rig->gateway, "mha-gateway", (char *)NULL);
	_exit(127);
}

static bool run_start(struct rig *rig)
{
	int pair[2], conf;

	if (rig->control >= 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	conf = conf_memfd(&rig->conf);
	rig->pid = fork();
	if (rig->pid < 0)
		return false;
	if (rig->pid == 0)
		exec_gateway(rig, pair[1], conf);
	close(conf);
	close(pair[1]);
	rig->control = pair[0];
	snprintf(rig->answer, sizeof(rig->answer), " %d", (int)rig->pid);
	return true;
}

static bool run_reap(struct rig *rig)
{
	int status;

	if (rig->control < 0 || waitpid(rig->pid, &status, 0) != rig->pid)
		return false;
	close(rig->control);
	rig->control = -1;
	snprintf(rig->answer, sizeof(rig->answer), " %d",
		 WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	return true;
}

static bool run_stop(struct rig *rig)
{
	struct err why;

	if (rig->control < 0 || control_send(rig->control, CONTROL_STOP, 0, -1, &why) < 0)
		return false;
	return run_reap(rig);
}

static bool run_reload(struct rig *rig)
{
	int fd = conf_memfd(&rig->conf), access = access_memfd(rig);
	struct err why;
	bool sent = rig->control >= 0;

	if (sent && access >= 0)
		sent = control_send(rig->control, CONTROL_SECRET, 0, access, &why) == 0;
	if (access >= 0)
		close(access);
	sent = sent && control_send(rig->control, CONTROL_CONF, 0, fd, &why) == 0;

	close(fd);
	return sent;
}

/* The master's word about a reload that the gateway has asked for. */
static bool run_reloaded(struct rig *rig, const char *code)
{
	struct err why;
	uint64_t number;

	return rig->control >= 0 && text_parse_u64(code, &number) && number < ERR_CODE_COUNT &&
	       control_send(rig->control, CONTROL_RELOADED, (unsigned)number, -1, &why) == 0;
}

static bool run_event(struct rig *rig, char *args)
{
	Mha__Bus__Event event;
	uint64_t sub;
	struct err why;
	char *index = strsep(&args, " "), *number = strsep(&args, " ");

	mha__bus__event__init(&event);
	event.name = strsep(&args, " ");
	event.json = args;
	if (args == NULL || !text_parse_u64(index, &event.index) || !text_parse_u64(number, &sub))
		return false;
	event.sub = (uint32_t)sub;
	event.wall_ms = (uint64_t)time(NULL) * 1000;
	if (bus_send(rig->bus, ROUTE_EVENT, &event.base, &why) == 0)
		return true;
	snprintf(rig->answer, sizeof(rig->answer), " %s", why.text);
	return false;
}

static void on_live(uv_timer_t *timer)
{
	publish(timer->data);
}

static bool run_live(struct rig *rig, const char *value)
{
	uint64_t ms;

	if (!text_parse_u64(value, &ms))
		return false;
	publish(rig);
	if (ms == 0)
		return uv_timer_stop(&rig->live) == 0;
	return uv_timer_start(&rig->live, on_live, ms, ms) == 0;
}

static bool run_set(struct rig *rig, char *args)
{
	const char *name = strsep(&args, " ");

	return args != NULL && rig_state_set(&rig->state, name, args);
}

static bool run_publish(struct rig *rig)
{
	publish(rig);
	return true;
}

static bool run_answer(struct rig *rig, char *args)
{
	uint64_t numbers[4];

	rig->silent = strcmp(args, "none") == 0;
	if (rig->silent)
		return true;
	for (unsigned i = 0; i < COUNT_OF(numbers); i++) {
		const char *word = strsep(&args, " ");

		if (word == NULL || !text_parse_u64(word, &numbers[i]))
			return false;
	}
	rig->end = (struct call_result){
		.code = (uint8_t)numbers[0],
		.node = (node_id)numbers[2],
		.operation = numbers[3],
		.loss_bytes = UINT64_C(3) << 20,
		.blocker_count = numbers[1] != 0,
		.blockers = {{(uint8_t)numbers[1], (node_id)numbers[2], 24 << 20, 16 << 20}},
	};
	return true;
}

static bool run_calls(struct rig *rig)
{
	const struct call *call = &rig->call;

	snprintf(rig->answer, sizeof(rig->answer), " %u %u %u %d %d %u %u %d", rig->calls,
		 call->kind, call->node, call->dry_run, call->accept_loss, call->mode,
		 call->quorum_sync, call->on);
	return true;
}

static void run_line(struct rig *rig, char *line)
{
	const char *verb = strsep(&line, " ");
	bool done = false;

	rig->answer[0] = '\0';
	if (strcmp(verb, "start") == 0)
		done = run_start(rig);
	else if (strcmp(verb, "stop") == 0)
		done = run_stop(rig);
	else if (strcmp(verb, "reap") == 0)
		done = run_reap(rig);
	else if (strcmp(verb, "reload") == 0)
		done = run_reload(rig);
	else if (strcmp(verb, "reloaded") == 0 && line != NULL)
		done = run_reloaded(rig, line);
	else if (strcmp(verb, "publish") == 0)
		done = run_publish(rig);
	else if (strcmp(verb, "live") == 0 && line != NULL)
		done = run_live(rig, line);
	else if (strcmp(verb, "set") == 0 && line != NULL)
		done = run_set(rig, line);
	else if (strcmp(verb, "answer") == 0 && line != NULL)
		done = run_answer(rig, line);
	else if (strcmp(verb, "calls") == 0)
		done = run_calls(rig);
	else if (strcmp(verb, "event") == 0 && line != NULL)
		done = run_event(rig, line);
	printf("%s%s\n", done ? "ok" : "error", rig->answer);
	fflush(stdout);
}

static void on_input(uv_poll_t *poll, int status, int events)
{
	struct rig *rig = poll->data;
	ssize_t got =
		read(STDIN_FILENO, rig->line + rig->length, sizeof(rig->line) - 1 - rig->length);
	char *end;

	UNUSED(status);
	UNUSED(events);
	if (got <= 0) {
		uv_stop(&rig->loop);
		return;
	}
	rig->length += (size_t)got;
	rig->line[rig->length] = '\0';
	while ((end = strchr(rig->line, '\n')) != NULL) {
		*end = '\0';
		run_line(rig, rig->line);
		rig->length -= (size_t)(end + 1 - rig->line);
		memmove(rig->line, end + 1, rig->length + 1);
	}
	CHECK(rig->length < sizeof(rig->line) - 1);
}

static void on_message(void *arg, enum route_id route, const ProtobufCMessage *message)
{
	struct rig *rig = arg;
	struct call_result_message end;
	struct err why = {0};

	if (route != ROUTE_CALL ||
	    call_from_message((const Mha__Bus__Call *)message, &rig->call, &why) < 0) {
		fprintf(stderr, "gateway_rig: %s\n", why.text);
		return;
	}
	rig->calls++;
	if (rig->silent)
		return;
	rig->end.id = rig->call.id;
	call_result_to_message(&rig->end, &end);
	if (bus_send(rig->bus, ROUTE_CALL_RESULT, &end.result.base, &why) < 0)
		fprintf(stderr, "gateway_rig: %s\n", why.text);
}

int main(int argc, char **argv)
{
	static struct rig rig;
	struct err why;
	int status;

	if (argc != 4 && argc != 5) {
		fputs("usage: gateway_rig GATEWAY RUN_DIR CONFIG [ACCESS]\n", stderr);
		return 2;
	}
	rig.gateway = argv[1];
	rig.run_dir = argv[2];
	rig.access = argc == 5 ? argv[4] : NULL;
	rig.control = -1;
	if (conf_read(&rig.conf, argv[3], &why) < 0) {
		fprintf(stderr, "gateway_rig: %s\n", why.text);
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	make_layout(&rig);
	make_sections(&rig);
	rig_state_init(&rig.state, clock_boot_ns(), (uint64_t)time(NULL) * 1000);
	CHECK(uv_loop_init(&rig.loop) == 0);
	if (bus_open(&rig.bus, &rig.loop, rig.run_dir, WORKER_consensus, on_message, &rig, &why) <
	    0) {
		fprintf(stderr, "gateway_rig: %s\n", why.text);
		return 1;
	}
	rig.input.data = rig.live.data = &rig;
	CHECK(uv_poll_init(&rig.loop, &rig.input, STDIN_FILENO) == 0);
	CHECK(uv_timer_init(&rig.loop, &rig.live) == 0);
	CHECK(uv_poll_start(&rig.input, UV_READABLE, on_input) == 0);
	puts("ready");
	fflush(stdout);
	uv_run(&rig.loop, UV_RUN_DEFAULT);
	/* Without its master a worker goes by itself. */
	if (rig.control >= 0) {
		close(rig.control);
		(void)waitpid(rig.pid, &status, 0);
	}
	bus_close(rig.bus);
	return 0;
}
