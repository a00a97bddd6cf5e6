/*
 * A master and a consensus for one mha-vip: starts it as the master would (descriptors, user, one
 * capability), and talks to it over the real bus. Driven by lines on standard input; what comes
 * back is printed as one JSON object per line.
 *
 *   vip_rig VIP-PROGRAM CONFIGURATION-FILE UID CAPABILITY(0|1)
 *
 *   spawn | kill | stop | cont | end      the process (end: the master's orderly stop)
 *   grant EPOCH MS                        one grant, MS from now
 *   auto EPOCH MS PERIOD | off            a grant every PERIOD ms
 *   close EPOCH | drop EPOCH              an order; its result is printed
 *   clients EPOCH MS                      the same; MS from now, 0: as long as the lease
 *   hold EPOCH MS PERIOD                  `clients` every PERIOD ms, until `off`; no results
 *   status                                print the status section
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "bus.pb-c.h"
#include "conf/conf.h"
#include "core/order.h"
#include "os/caps.h"
#include "os/clock.h"
#include "os/memfd.h"
#include "os/process.h"
#include "status/status.h"
#include "wire/bus.h"
#include "wire/convert.h"

#define MS UINT64_C(1000000)
/* Orders from here on are repetitions, and so are their results. */
#define HOLD_ID (UINT64_C(1) << 32)

struct rig {
	uv_loop_t loop;
	const char *program;
	const char *conf_file;
	unsigned uid;
	bool capable;
	struct conf conf;
	struct bus *bus;
	pid_t pid;
	int pidfd;
	uv_poll_t end_poll;
	uv_poll_t control_poll;
	int control;
	uv_pipe_t input;
	uv_timer_t grant_timer;
	bool holding; /* repeats the order, not the grant */
	uint64_t auto_epoch;
	uint64_t auto_ms;
	uint64_t order_id;
	char line[256];
	size_t line_size;
};

static _Noreturn void die(const struct err *why)
{
	(void)fprintf(stderr, "vip_rig: %s\n", why->text);
	exit(1);
}

static void say(const char *format, ...) PRINTF_LIKE(1, 2);
static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vprintf(format, arguments);
	va_end(arguments);
	(void)putchar('\n');
	(void)fflush(stdout);
}

static void on_message(void *arg, enum route_id route, const ProtobufCMessage *message)
{
	UNUSED(arg);
	if (route == ROUTE_FENCE) {
		const Mha__Bus__FenceReport *report = (const Mha__Bus__FenceReport *)message;

		say("{\"kind\":\"report\",\"at\":%" PRIu64 ",\"state\":%u,\"epoch\":%" PRIu64
		    ",\"vip_held\":%d,\"kernel_fence\":%d,\"incarnation\":%" PRIu64
		    ",\"text\":\"%s\"}",
		    clock_boot_ns(), report->state, report->epoch, report->vip_held,
		    report->kernel_fence, report->incarnation, report->text);
	} else if (route == ROUTE_RESULT_VIP) {
		const Mha__Bus__OrderResult *result = (const Mha__Bus__OrderResult *)message;

		if (result->order_id >= HOLD_ID)
			return;
		say("{\"kind\":\"result\",\"at\":%" PRIu64 ",\"order\":%" PRIu64
		    ",\"outcome\":%u,\"text\":\"%s\"}",
		    clock_boot_ns(), result->order_id, result->outcome, result->text);
	}
}

static void on_peer(void *arg, enum worker_id peer)
{
	UNUSED(arg);
	if (peer == WORKER_vip)
		say("{\"kind\":\"connected\"}");
}

/* In the child, from here on only what ends in exec. */
static void enter(const struct rig *rig, int control, int conf, int status, int packet)
{
	const uint64_t keep = rig->capable ? CAP_BIT(CAP_NET_ADMIN) : 0;
	const int given[] = {control, conf, status, packet};
	int high[COUNT_OF(given)];
	struct err why;

	for (unsigned i = 0; i < COUNT_OF(given); i++)
		high[i] = fcntl(given[i], F_DUPFD, 20);
	for (unsigned i = 0; i < COUNT_OF(given); i++) {
		if (high[i] < 0 || dup2(high[i], 3 + (int)i) < 0)
			_exit(120);
		(void)close(high[i]);
	}
	if (caps_bound(keep, &why) < 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ||
	    setresgid(rig->uid, rig->uid, rig->uid) < 0 || setgroups(0, NULL) < 0 ||
	    setresuid(rig->uid, rig->uid, rig->uid) < 0 || caps_keep(keep, true, &why) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(121);
	(void)execl(rig->program, "mha-vip", (char *)NULL);
	_exit(122);
}

static void on_end(uv_poll_t *poll, int status, int events)
{
	struct rig *rig = poll->data;
	struct process_end end;
	struct err why;

	UNUSED(status);
	UNUSED(events);
	if (process_reap(rig->pidfd, &end, &why) < 0)
		return;
	(void)uv_poll_stop(poll);
	(void)uv_poll_stop(&rig->control_poll);
	(void)close(rig->control);
	(void)close(rig->pidfd);
	rig->pid = 0;
	say("{\"kind\":\"ended\",\"by_signal\":%d,\"code\":%d}", end.by_signal, end.code);
}

static void on_control(uv_poll_t *poll, int status, int events)
{
	struct rig *rig = poll->data;
	char bytes[64];

	UNUSED(status);
	UNUSED(events);
	if (recv(rig->control, bytes, sizeof(bytes), MSG_DONTWAIT) == 0)
		(void)uv_poll_stop(poll);
}

static int conf_memfd(const struct rig *rig)
{
	char *text = NULL;
	size_t size = 0;
	struct err why;
	FILE *to = open_memstream(&text, &size);
	int fd;

	if (to == NULL || conf_print(&rig->conf, to, &why) < 0 || fclose(to) != 0 ||
	    (fd = memfd_sealed("configuration", text, size, &why)) < 0)
		die(&why);
	free(text);
	return fd;
}

static int status_file(const struct rig *rig)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/status/vip", rig->conf.run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	CHECK(fd >= 0);
	return fd;
}

static void spawn(struct rig *rig)
{
	int pair[2];
	struct err why;
	const int conf = conf_memfd(rig);
	const int status = status_file(rig);
	const int packet = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	CHECK(packet >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	rig->pid = fork();
	CHECK(rig->pid >= 0);
	if (rig->pid == 0)
		enter(rig, pair[1], conf, status, packet);
	rig->control = pair[0];
	rig->pidfd = process_open(rig->pid, &why);
	if (rig->pidfd < 0)
		die(&why);
	(void)close(pair[1]);
	(void)close(conf);
	(void)close(status);
	(void)close(packet);
	CHECK(uv_poll_init(&rig->loop, &rig->end_poll, rig->pidfd) == 0);
	CHECK(uv_poll_init(&rig->loop, &rig->control_poll, rig->control) == 0);
	rig->end_poll.data = rig;
	rig->control_poll.data = rig;
	(void)uv_poll_start(&rig->end_poll, UV_READABLE, on_end);
	(void)uv_poll_start(&rig->control_poll, UV_READABLE, on_control);
	say("{\"kind\":\"spawned\",\"pid\":%d}", (int)rig->pid);
}

static void grant(struct rig *rig, uint64_t epoch, uint64_t ms)
{
	Mha__Bus__Grant message = MHA__BUS__GRANT__INIT;
	struct err why;

	message.epoch = epoch;
	message.until_ns = clock_boot_ns() + ms * MS;
	if (bus_send(rig->bus, ROUTE_GRANT, &message.base, &why) < 0)
		say("{\"kind\":\"unsent\"}");
}

static void give(struct rig *rig, uint64_t id, enum order_kind kind, uint64_t epoch, uint64_t ms)
{
	const struct order order = {.id = id,
				    .kind = (uint8_t)kind,
				    .epoch = epoch,
				    .lease_until_ns = ms > 0 ? clock_boot_ns() + ms * MS : 0};
	struct order_message message;
	struct err why;

	order_to_message(&order, &message);
	if (bus_send(rig->bus, ROUTE_ORDER_VIP, &message.order.base, &why) < 0)
		say("{\"kind\":\"unsent\"}");
}

static void on_grant_timer(uv_timer_t *timer)
{
	struct rig *rig = timer->data;

	if (rig->holding)
		give(rig, HOLD_ID + rig->order_id, ORDER_FENCE_CLIENTS, rig->auto_epoch,
		     rig->auto_ms);
	else
		grant(rig, rig->auto_epoch, rig->auto_ms);
}

static void print_status(const struct rig *rig)
{
	struct status_map map;
	struct status_vip vip;
	struct err why;

	if (status_open_read(&map, STATUS_VIP, rig->conf.run_dir, &why) < 0 ||
	    status_read(&map, &vip, &why) < 0)
		die(&why);
	status_close(&map);
	say("{\"kind\":\"status\",\"fence\":%u,\"epoch\":%" PRIu64 ",\"until_ns\":%" PRIu64
	    ",\"vip_held\":%d,\"kernel_fence\":%d,\"renewals\":%" PRIu64 ",\"expiries\":%" PRIu64
	    ",\"last_renew_us\":%" PRIu64 ",\"margins\":%" PRIu64 ",\"margin_sum_us\":%" PRId64
	    ",\"last_error\":\"%s\"}",
	    vip.fence, vip.epoch, vip.until_ns, vip.vip_held, vip.kernel_fence, vip.renewals,
	    vip.expiries, vip.last_renew_us,
	    status_margin_count(&vip.margins, STATUS_MARGIN_BOUNDS), vip.margins.sum_us,
	    vip.last_error);
}

static void signal_vip(const struct rig *rig, int signal)
{
	struct err why;

	if (rig->pid != 0 && process_signal(rig->pidfd, signal, &why) < 0)
		die(&why);
}

static void obey(struct rig *rig, char *line)
{
	uint64_t numbers[3] = {0};
	char *rest = NULL;
	const char *word = strtok_r(line, " ", &rest);

	if (word == NULL)
		return;
	for (unsigned i = 0; i < COUNT_OF(numbers); i++) {
		const char *number = strtok_r(NULL, " ", &rest);

		CHECK(number == NULL || text_parse_u64(number, &numbers[i]));
	}

	const uint64_t a = numbers[0];

	if (strcmp(word, "spawn") == 0)
		spawn(rig);
	else if (strcmp(word, "kill") == 0)
		signal_vip(rig, SIGKILL);
	else if (strcmp(word, "stop") == 0)
		signal_vip(rig, SIGSTOP);
	else if (strcmp(word, "cont") == 0)
		signal_vip(rig, SIGCONT);
	else if (strcmp(word, "end") == 0)
		(void)shutdown(rig->control, SHUT_RDWR);
	else if (strcmp(word, "grant") == 0)
		grant(rig, a, numbers[1]);
	else if (strcmp(word, "close") == 0)
		give(rig, ++rig->order_id, ORDER_FENCE_CLOSE, a, 0);
	else if (strcmp(word, "drop") == 0)
		give(rig, ++rig->order_id, ORDER_FENCE_DROP, a, 0);
	else if (strcmp(word, "clients") == 0)
		give(rig, ++rig->order_id, ORDER_FENCE_CLIENTS, a, numbers[1]);
	else if (strcmp(word, "status") == 0)
		print_status(rig);
	else if (strcmp(word, "off") == 0)
		(void)uv_timer_stop(&rig->grant_timer);
	if (strcmp(word, "auto") == 0 || strcmp(word, "hold") == 0) {
		rig->holding = word[0] == 'h';
		rig->auto_epoch = a;
		rig->auto_ms = numbers[1];
		(void)uv_timer_start(&rig->grant_timer, on_grant_timer, 0, numbers[2]);
	}
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct rig *rig = handle->data;

	UNUSED(suggested);
	buffer->base = rig->line + rig->line_size;
	buffer->len = sizeof(rig->line) - rig->line_size - 1;
}

static void on_input(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct rig *rig = stream->data;
	char *end;

	UNUSED(buffer);
	if (size < 0) {
		signal_vip(rig, SIGKILL);
		uv_stop(&rig->loop);
		return;
	}
	rig->line_size += (size_t)size;
	rig->line[rig->line_size] = '\0';
	while ((end = strchr(rig->line, '\n')) != NULL) {
		*end = '\0';
		obey(rig, rig->line);
		rig->line_size -= (size_t)(end + 1 - rig->line);
		memmove(rig->line, end + 1, rig->line_size + 1);
	}
}

static void make_dir(const struct rig *rig, const char *name, unsigned uid, mode_t mode)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", rig->conf.run_dir, name);
	CHECK(mkdir(path, mode) == 0 && chown(path, uid, uid) == 0 && chmod(path, mode) == 0);
}

int main(int argc, char **argv)
{
	static struct rig rig;
	struct err why;

	if (argc != 5) {
		(void)fprintf(stderr, "usage: vip_rig PROGRAM CONFIGURATION UID CAPABILITY\n");
		return 2;
	}
	rig.program = argv[1];
	rig.conf_file = argv[2];
	rig.uid = (unsigned)strtoul(argv[3], NULL, 10);
	rig.capable = strcmp(argv[4], "1") == 0;
	(void)umask(0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	log_open("rig", "rig", LOG_NOTICE);
	if (conf_read(&rig.conf, rig.conf_file, &why) < 0)
		die(&why);
	make_dir(&rig, "status", 0, 0755);
	make_dir(&rig, "bus", 0, 0755);
	make_dir(&rig, "bus/vip", 0, 0755);
	make_dir(&rig, "bus/vip/consensus", rig.uid, 0750);
	make_dir(&rig, "bus/consensus", 0, 0755);
	make_dir(&rig, "bus/consensus/vip", rig.uid, 0750);
	CHECK(uv_loop_init(&rig.loop) == 0);
	if (bus_open(&rig.bus, &rig.loop, rig.conf.run_dir, WORKER_consensus, on_message, &rig,
		     &why) < 0)
		die(&why);
	bus_watch(rig.bus, on_peer, &rig);
	CHECK(uv_timer_init(&rig.loop, &rig.grant_timer) == 0);
	rig.grant_timer.data = &rig;
	CHECK(uv_pipe_init(&rig.loop, &rig.input, 0) == 0 && uv_pipe_open(&rig.input, 0) == 0);
	rig.input.data = &rig;
	CHECK(uv_read_start((uv_stream_t *)&rig.input, on_alloc, on_input) == 0);
	(void)uv_run(&rig.loop, UV_RUN_DEFAULT);
	bus_close(rig.bus);
	return 0;
}
