/* mha-trace: follows one agent and gives what happens to a collector, as spans of OpenTelemetry. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "mhactl/when.h"
#include "os/clock.h"
#include "os/notify.h"
#include "trace/follow.h"
#include "trace/post.h"
#include "trace/queue.h"

#define RUN_DIR_DEFAULT "/run/mha4rdb"
#define TIMEOUT_MS      2000
#define WAIT_MS         2000 /* for the next event; a signal is noticed by then */
#define ONCE_MS         30000
#define MS_NS           UINT64_C(1000000)

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct wishes {
	struct fetch_from from;
	struct post_options post;
	uint64_t since_ms; /* a span; UINT64_MAX: not given */
	enum log_format format;
	bool json, once, help;
};

struct exporter {
	const struct wishes *wishes;
	struct post *post; /* NULL: printed */
	struct queue queue;
	struct follow follow;
	bool failing; /* the collector, the last time */
	bool broken;  /* standard output */
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

static void usage(FILE *to)
{
	fputs("usage: mha-trace --endpoint URL [--header-file FILE] [--ca-file FILE] [WHERE]\n"
	      "                 [--since SPAN] [--once]\n"
	      "       mha-trace --json [WHERE] [--since SPAN] [--once]\n"
	      "\n"
	      "  --endpoint URL      the collector: http://127.0.0.1:4318/v1/traces\n"
	      "  --header-file FILE  lines \"Name: value\" sent with each request\n"
	      "  --ca-file FILE      whom to trust for https\n"
	      "  --json              print the requests, one a line, instead of sending them\n"
	      "  --since SPAN        also what was over at most so long ago: 10min, 1d\n"
	      "  --once              what is recorded (or --since), then end\n"
	      "  --log-format F      text (default) or json\n"
	      "  --help              this text\n"
	      "WHERE, the agent that is followed:\n"
	      "  --run-dir DIR       paths.run_dir of the local one (" RUN_DIR_DEFAULT ")\n"
	      "  --host H            the one there: HOST or HOST:PORT, with a key\n"
	      "  --key FILE          your key (mha-keygen), authorised at that agent\n"
	      "  --server-key K      that agent's public key, or a file with rows HOST KEY\n"
	      "\n"
	      "Exit status: 0 done, or ended by a signal; 1 error; 2 wrong usage.\n",
	      to);
}

static bool take_format(const char *text, enum log_format *format)
{
	*format = strcmp(text, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
	return *format == LOG_FORMAT_JSON || strcmp(text, "text") == 0;
}

static bool take_option(int option, struct wishes *wishes)
{
	switch (option) {
	case 'e':
		wishes->post.endpoint = optarg;
		return true;
	case 'f':
		wishes->post.header_file = optarg;
		return true;
	case 'c':
		wishes->post.ca_file = optarg;
		return true;
	case 'j':
		wishes->json = true;
		return true;
	case 's':
		return when_parse_span(optarg, &wishes->since_ms);
	case 'o':
		wishes->once = true;
		return true;
	case 'l':
		return take_format(optarg, &wishes->format);
	case 'r':
		wishes->from.run_dir = optarg;
		return true;
	case 'H':
		wishes->from.remote.host = optarg;
		return true;
	case 'k':
		wishes->from.remote.key_file = optarg;
		return true;
	case 'K':
		wishes->from.remote.server_key = optarg;
		return true;
	case 'h':
		wishes->help = true;
		return true;
	default:
		return false;
	}
}

static bool take_options(int argc, char **argv, struct wishes *wishes)
{
	static const struct option OPTIONS[] = {
		{"endpoint", required_argument, NULL, 'e'},
		{"header-file", required_argument, NULL, 'f'},
		{"ca-file", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"since", required_argument, NULL, 's'},
		{"once", no_argument, NULL, 'o'},
		{"log-format", required_argument, NULL, 'l'},
		{"run-dir", required_argument, NULL, 'r'},
		{"host", required_argument, NULL, 'H'},
		{"key", required_argument, NULL, 'k'},
		{"server-key", required_argument, NULL, 'K'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
		if (!take_option(option, wishes))
			return false;
	}
	if (wishes->help)
		return true;
	return optind == argc && wishes->json == (wishes->post.endpoint == NULL) &&
	       (wishes->from.remote.host != NULL) == (wishes->from.remote.key_file != NULL);
}

static uint64_t now_ms(void)
{
	return clock_boot_ns() / MS_NS;
}

/* -- the collector ------------------------------------------------------------------------------
 */

static void give(void *arg, char *body, unsigned spans, const char trace[33], struct act act)
{
	struct exporter *self = arg;
	unsigned dropped;

	log_event(LOG_NOTICE, "trace.made", "trace=%s epoch=%" PRIu64 " spans=%u", trace, act.epoch,
		  spans);
	if (self->post == NULL) {
		if (puts(body) < 0 || fflush(stdout) != 0)
			self->broken = true;
		free(body);
		return;
	}
	dropped = queue_push(&self->queue, body, strlen(body), spans, trace);
	if (dropped > 0)
		log_event(LOG_WARNING, "trace.dropped",
			  "requests=%u dropped=%" PRIu64 " dropped_spans=%" PRIu64
			  " the collector was away for too long",
			  dropped, self->queue.dropped, self->queue.dropped_spans);
}

/* Everything that is due; the order stays. */
static void send_due(struct exporter *self)
{
	const struct queue_item *item;

	while (stopped == 0 && (item = queue_due(&self->queue, now_ms())) != NULL) {
		struct err why = {0};
		uint64_t again_ms;
		enum post_end end = post_send(self->post, item->body, item->size, &again_ms, &why);

		if (end == POST_AGAIN) {
			if (!self->failing)
				log_event(LOG_WARNING, "collector.away",
					  "waiting=%u %s; it is tried again", self->queue.count,
					  why.text);
			self->failing = true;
			queue_again(&self->queue, now_ms(), again_ms, randombytes_random());
			return;
		}
		if (end == POST_REFUSED) {
			log_event(LOG_ERROR, "trace.refused",
				  "trace=%s spans=%u %s; it is not tried again", item->trace,
				  item->spans, why.text);
			queue_refused(&self->queue);
			continue;
		}
		if (why.code != 0)
			log_event(LOG_WARNING, "trace.partial", "trace=%s %s", item->trace,
				  why.text);
		if (self->failing)
			log_event(LOG_NOTICE, "collector.back", "waiting=%u",
				  self->queue.count - 1);
		self->failing = false;
		queue_done(&self->queue);
	}
}

static void rest(unsigned ms)
{
	const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)nanosleep(&time, NULL);
}

/* -- the two ways to run ------------------------------------------------------------------------
 */

static int once(struct exporter *self, struct err *why)
{
	const uint64_t since = self->wishes->since_ms, wall = clock_wall_ms();
	const uint64_t deadline = now_ms() + ONCE_MS;
	int rc = follow_begin(&self->follow, since < wall ? wall - since : 0, false, why);

	if (rc < 0)
		return rc;
	while (stopped == 0 && self->queue.count > 0 && now_ms() < deadline) {
		send_due(self);
		rest(queue_wait(&self->queue, now_ms(), 1000));
	}
	if (self->queue.count > 0)
		return err_set(why, ERR_TIMEOUT, "%s: %u requests could not be delivered",
			       self->wishes->post.endpoint, self->queue.count);
	if (self->queue.dropped > 0)
		return err_set(why, ERR_REFUSED, "%" PRIu64 " requests were not taken",
			       self->queue.dropped);
	return self->broken ? err_set_errno(why, ERR_IO, errno, "standard output") : 0;
}

/* `away`: whether it is known already. */
static void agent_trouble(bool away, const struct err *why)
{
	if (!away)
		log_event(LOG_WARNING, "agent.away", "%s; it is asked again", why->text);
}

/* Until the agent has said who it is. */
static void begin(struct exporter *self, const struct notify *notify)
{
	const uint64_t since = self->wishes->since_ms, wall = clock_wall_ms();
	const uint64_t from = since == UINT64_MAX ? UINT64_MAX : since < wall ? wall - since : 0;
	bool away = false;

	while (stopped == 0) {
		struct err why = {0};
		int rc = follow_begin(&self->follow, from, true, &why);

		if (rc == 0) {
			log_open(self->follow.node, "mha-trace", LOG_NOTICE);
			log_event(LOG_NOTICE, "trace.ready", "cluster=%s node=%s endpoint=%s",
				  self->follow.cluster, self->follow.node,
				  self->post != NULL ? self->wishes->post.endpoint : "(printed)");
			notify_send(notify, "READY=1");
			return;
		}
		agent_trouble(away, &why);
		away = true;
		rest(FOLLOW_AWAY_MS);
	}
}

static int follow(struct exporter *self, const struct notify *notify, struct err *why)
{
	begin(self, notify);
	while (stopped == 0 && !self->broken) {
		const bool away = self->follow.away;
		struct err trouble = {0};
		unsigned wait = queue_wait(&self->queue, now_ms(), WAIT_MS);

		if (follow_step(&self->follow, wait, clock_wall_ms(), &trouble) < 0) {
			agent_trouble(away, &trouble);
			rest(queue_wait(&self->queue, now_ms(), FOLLOW_AWAY_MS));
		} else if (away) {
			log_event(LOG_NOTICE, "agent.back", "node=%s", self->follow.node);
		}
		send_due(self);
	}
	notify_send(notify, "STOPPING=1");
	if (self->post != NULL)
		log_event(LOG_NOTICE, "trace.end",
			  "sent=%" PRIu64 " dropped=%" PRIu64 " lost=%" PRIu64 " waiting=%u",
			  self->queue.sent, self->queue.dropped, self->follow.lost,
			  self->queue.count);
	return self->broken ? err_set_errno(why, ERR_IO, errno, "standard output") : 0;
}

static int run(const struct wishes *wishes, struct err *why)
{
	struct exporter *self = calloc(1, sizeof(*self));
	struct notify notify;
	char host[256] = "";
	int rc = self == NULL ? err_set(why, ERR_NO_MEMORY, "out of memory") : 0;

	if (rc < 0)
		return rc;
	if (gethostname(host, sizeof(host) - 1) < 0)
		host[0] = '\0';
	self->wishes = wishes;
	queue_init(&self->queue);
	follow_init(&self->follow, &wishes->from, host, give, self);
	rc = notify_open(&notify, why);
	if (rc == 0 && !wishes->json)
		rc = post_open(&self->post, &wishes->post, why);
	if (rc == 0)
		rc = wishes->once ? once(self, why) : follow(self, &notify, why);
	follow_fini(&self->follow);
	queue_fini(&self->queue);
	post_close(self->post);
	free(self);
	return rc;
}

int main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct wishes wishes = {
		.from = {.run_dir = RUN_DIR_DEFAULT, .timeout_ms = TIMEOUT_MS},
		.since_ms = UINT64_MAX,
	};
	struct err why = {0};

	if (!take_options(argc, argv, &wishes)) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (wishes.help) {
		usage(stdout);
		return EXIT_DONE;
	}
	/* It executes nothing, and gets no rights by executing. */
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	log_open("", "mha-trace", LOG_NOTICE);
	log_set_format(wishes.format);
	if (sodium_init() < 0) {
		fputs("mha-trace: libsodium does not start\n", stderr);
		return EXIT_FAILED;
	}
	if (run(&wishes, &why) < 0) {
		fprintf(stderr, "mha-trace: %s\n", why.text);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}
