/* mhactl: asks the local agent, shows the answer, exits. docs/man/mhactl.1 is its contract. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/text.h"
#include "mhactl/command.h"
#include "mhactl/print.h"
#include "mhactl/when.h"
#include "os/clock.h"
#include "os/sanitizer.h"
#include "view/json.h"

#define RUN_DIR_DEFAULT "/run/mha4rdb"
#define TIMEOUT_MS      2000
#define CALL_TIMEOUT_MS 30000
#define WAIT_MS         120000

typedef int (*verb_function)(const struct command_line *line, struct fetched *fetched);

/* Options that only some verbs take. */
enum {
	OPT_SINCE = 1 << 0,
	OPT_TO = 1 << 1,
	OPT_AT = 1 << 2,
	OPT_UNTIL = 1 << 3,
	OPT_DRY_RUN = 1 << 4,
	OPT_WAIT = 1 << 5,
	OPT_LOSS = 1 << 6,
	OPT_YES = 1 << 7,
	OPT_QUORUM = 1 << 8,
	OPT_PIN = 1 << 9,
	OPT_FORCE = 1 << 10,
	OPT_FOR = 1 << 11,
	OPT_CONFIG = 1 << 12,
};

enum {
	OPT_RUN_DIR = 1 << 20,
	OPT_ENDPOINT,
	OPT_JSON,
	OPT_TIMEOUT,
	OPT_HELP,
	OPT_HOST,
	OPT_KEY,
	OPT_SERVER_KEY
};

static const struct option OPTIONS[] = {
	{"run-dir", required_argument, NULL, OPT_RUN_DIR},
	{"endpoint", required_argument, NULL, OPT_ENDPOINT},
	{"host", required_argument, NULL, OPT_HOST},
	{"key", required_argument, NULL, OPT_KEY},
	{"server-key", required_argument, NULL, OPT_SERVER_KEY},
	{"json", no_argument, NULL, OPT_JSON},
	{"timeout", required_argument, NULL, OPT_TIMEOUT},
	{"help", no_argument, NULL, OPT_HELP},
	{"since", required_argument, NULL, OPT_SINCE},
	{"to", required_argument, NULL, OPT_TO},
	{"at", required_argument, NULL, OPT_AT},
	{"until", required_argument, NULL, OPT_UNTIL},
	{"for", required_argument, NULL, OPT_FOR},
	{"config", required_argument, NULL, OPT_CONFIG},
	{"dry-run", no_argument, NULL, OPT_DRY_RUN},
	{"wait", no_argument, NULL, OPT_WAIT},
	{"accept-loss", no_argument, NULL, OPT_LOSS},
	{"yes", no_argument, NULL, OPT_YES},
	{"quorum", required_argument, NULL, OPT_QUORUM},
	{"pin", no_argument, NULL, OPT_PIN},
	{"force", no_argument, NULL, OPT_FORCE},
	{0},
};

struct verb {
	const char *name;
	verb_function run;
	unsigned options;
	unsigned min, max; /* arguments */
	const char *usage;
	const char *help;
};

static int run_status(const struct command_line *line, struct fetched *fetched);
static int run_list(const struct command_line *line, struct fetched *fetched);
static int run_history(const struct command_line *line, struct fetched *fetched);
static int run_why(const struct command_line *line, struct fetched *fetched);
static int run_events(const struct command_line *line, struct fetched *fetched);
static int run_version(const struct command_line *line, struct fetched *fetched);
static int run_help(const struct command_line *line, struct fetched *fetched);

/* clang-format off */
static const struct verb VERBS[] = {
	{"status", run_status, 0, 0, 0, "", "the cluster: who serves, why, and every member"},
	{"list", run_list, 0, 0, 0, "", "the members only"},
	{"topology", run_topology, 0, 0, 0, "", "who streams from whom"},
	{"why", run_why, 0, 0, 0, "", "why nobody is primary, or why the primary is who it is"},
	{"history", run_history, 0, 0, 0, "", "every decision and operation that is kept, with its inputs"},
	{"events", run_events, OPT_SINCE, 0, 0, "[--since INDEX[.SUB]]", "events that the agent remembers"},
	{"switchover", run_switchover, OPT_TO | OPT_AT | OPT_UNTIL | OPT_DRY_RUN | OPT_WAIT, 0, 0,
	 "[--to NODE] [--at TIME [--until TIME]] [--dry-run] [--wait [--timeout TIME]]",
	 "a planned change of primary; nothing is lost"},
	{"failover", run_failover, OPT_TO | OPT_DRY_RUN | OPT_WAIT | OPT_LOSS | OPT_YES, 0, 0,
	 "--to NODE [--accept-loss] [--yes] [--dry-run] [--wait [--timeout TIME]]",
	 "promote a standby where nobody serves"},
	{"cancel", run_cancel, 0, 0, 0, "", "the operation that is scheduled or being prepared"},
	{"mode", run_mode, OPT_QUORUM | OPT_PIN | OPT_FORCE | OPT_DRY_RUN, 0, 1,
	 "[NAME] [--quorum N|majority] [--pin] [--force] [--dry-run]", "set the protection mode"},
	{"auto-failover", run_auto_failover, 0, 1, 1, "on|off", "whether a failover needs no operator"},
	{"auto-switch", run_auto_switch, 0, 1, 1, "on|off", "whether a better node becomes primary by itself"},
	{"pause", run_pause, OPT_UNTIL | OPT_FOR, 0, 0, "[--for TIME | --until TIME]", "no starts, no promotions; the fence stays on"},
	{"resume", run_resume, 0, 0, 0, "", "end a pause"},
	{"maintenance", run_maintenance, 0, 2, 2, "on|off NODE", "a node is not started, elected or counted on"},
	{"restart", run_restart, OPT_FORCE | OPT_DRY_RUN | OPT_WAIT | OPT_YES, 1, 1,
	 "NODE [--force] [--yes] [--dry-run] [--wait [--timeout TIME]]",
	 "restart one node's database; a primary stays the primary"},
	{"reinit", run_reinit, OPT_FORCE | OPT_DRY_RUN | OPT_WAIT | OPT_YES, 1, 1,
	 "NODE [--force] [--yes] [--dry-run] [--wait [--timeout TIME]]",
	 "replace a standby's data by a new clone"},
	{"reload", run_reload, 0, 0, 0, "", "the agent and its database read their files again"},
	{"enroll-token", run_enroll_token, OPT_FOR, 1, 1, "NAME [--for TIME]", "a one-time token by which a new node enrols (mha-enroll)"},
	{"enrolled", run_enrolled, 0, 0, 0, "", "who used a token here: rows for members"},
	{"member", run_member, OPT_FORCE | OPT_DRY_RUN, 2, 2, "add|remove NODE [--force] [--dry-run]",
	 "a node joins or leaves; its row is in the configuration of all nodes"},
	{"doctor", run_doctor, OPT_CONFIG, 0, 0, "[--config FILE]",
	 "what is wrong with host, keys, clocks, ports, fence, disks and database, and what to do"},
	{"config", run_config, OPT_CONFIG | OPT_YES, 1, 2, "show|check [FILE]|edit [--config FILE] [--yes]",
	 "what is in effect and where it comes from; whether a file is good; change it"},
	{"version", run_version, 0, 0, 0, "", "versions of this program and of the agent"},
	{"help", run_help, 0, 0, 0, "", "this text"},
};
/* clang-format on */

static void usage(FILE *to)
{
	fputs("usage: mhactl [--run-dir DIR | --endpoint ENDPOINT | --host HOST --key FILE] "
	      "[--json] VERB ...\n\n",
	      to);
	for (size_t i = 0; i < COUNT_OF(VERBS); i++) {
		fprintf(to, "  %-13s %s\n", VERBS[i].name, VERBS[i].help);
		if (VERBS[i].usage[0] != '\0')
			fprintf(to, "  %-13s   %s\n", "", VERBS[i].usage);
	}
	fputs("\n  --run-dir DIR   paths.run_dir of the local agent (" RUN_DIR_DEFAULT ")\n"
	      "  --endpoint E    ask there instead: tcp://address:port or ipc:///path\n"
	      "  --host H        ask the agent there: HOST or HOST:PORT, with a key\n"
	      "  --key FILE      your key (mha-keygen), authorised at that agent\n"
	      "  --server-key K  that agent's public key, or a file with rows HOST KEY\n"
	      "                  (default: FILE.agents)\n"
	      "  --json          print JSON\n"
	      "  --help          this text; after a verb, only what that verb takes\n"
	      "\nExit status: 0 done; 1 error; 2 wrong usage; 3 refused, or no agent: nothing was\n"
	      "changed; 4 rolled back or cancelled; 5 the time is up, or the end is not known;\n"
	      "6 doctor found an error.\n",
	      to);
}

int command_failed(int rc, const struct err *why)
{
	fprintf(stderr, "mhactl: %s\n", why->text);
	switch (rc) {
	case ERR_NOT_FOUND:
	case ERR_GONE:
	case ERR_TIMEOUT:
	case ERR_PERM:
	case ERR_BUSY:
		return EXIT_REFUSED;
	default:
		return EXIT_ERROR;
	}
}

int command_lost(int rc, const struct err *why)
{
	const int status = command_failed(rc, why);

	if (rc != ERR_TIMEOUT)
		return status;
	fputs("mhactl: it may have been carried out all the same: look with `mhactl status`\n",
	      stderr);
	return EXIT_UNCERTAIN;
}

int command_json(json_t *value)
{
	char *text = json_print(value, JSON_INDENT(2));

	if (text == NULL) {
		fputs("mhactl: out of memory\n", stderr);
		return EXIT_ERROR;
	}
	puts(text);
	free(text);
	return EXIT_DONE;
}

void command_tell_source(const struct fetched *fetched)
{
	if (fetched->from_segment)
		fprintf(stderr,
			"mhactl: the agent does not answer (%s); this is its status segment, "
			"last written %.1f s ago\n",
			fetched->agent_why.text,
			fetched->view.age_ms < 0 ? 0 : (double)fetched->view.age_ms / 1e3);
}

/* What status and topology have in common: the same facts, shown by `print`. */
static int show_status(const struct command_line *line, struct fetched *fetched,
		       void (*print)(const Mha__Client__Status *, bool, FILE *))
{
	struct err why = {0};
	int rc = fetch_status(&line->from, fetched, &why);

	if (rc < 0)
		return command_failed(rc, &why);
	command_tell_source(fetched);
	if (line->json)
		return command_json(status_to_json(fetched->status));
	print(fetched->status, line->colours, stdout);
	return EXIT_DONE;
}

static int run_status(const struct command_line *line, struct fetched *fetched)
{
	return show_status(line, fetched, print_status);
}

static int run_list(const struct command_line *line, struct fetched *fetched)
{
	struct err why = {0};
	int rc = fetch_status(&line->from, fetched, &why);
	json_t *status, *members;

	if (rc < 0)
		return command_failed(rc, &why);
	command_tell_source(fetched);
	if (!line->json) {
		print_list(fetched->status, line->colours, stdout);
		return EXIT_DONE;
	}
	status = status_to_json(fetched->status);
	members = json_incref(json_object_get(status, "members"));
	json_decref(status);
	return command_json(members);
}

int run_topology(const struct command_line *line, struct fetched *fetched)
{
	return show_status(line, fetched, print_topology);
}

static int run_history(const struct command_line *line, struct fetched *fetched)
{
	struct err why = {0};
	int rc = fetch_history(&line->from, fetched, &why);

	if (rc < 0)
		return command_failed(rc, &why);
	command_tell_source(fetched);
	if (line->json)
		return command_json(history_to_json(fetched->history));
	print_history(fetched->history, line->colours, stdout);
	return EXIT_DONE;
}

/* Two questions, as JSON and in words. */
static int run_why(const struct command_line *line, struct fetched *fetched)
{
	struct fetched *second = calloc(1, sizeof(*second));
	struct err why = {0};
	int rc = second == NULL ? err_set(&why, ERR_NO_MEMORY, "out of memory")
				: fetch_status(&line->from, fetched, &why);
	int status = EXIT_DONE;

	if (rc == 0)
		rc = fetch_history(&line->from, second, &why);
	if (rc < 0) {
		free(second);
		return command_failed(rc, &why);
	}
	command_tell_source(fetched);
	if (line->json)
		status = command_json(json_pack("{s:o, s:o}", "status",
						status_to_json(fetched->status), "history",
						history_to_json(second->history)));
	else
		print_why(fetched->status, second->history, stdout);
	fetched_free(second);
	free(second);
	return status;
}

static int run_events(const struct command_line *line, struct fetched *fetched)
{
	struct err why = {0};
	int rc = fetch_events(&line->from, line->since_index, line->since_sub, 0, fetched, &why);

	if (rc < 0)
		return command_failed(rc, &why);
	if (line->json)
		return command_json(events_to_json(fetched->events));
	print_events(fetched->events, stdout);
	return EXIT_DONE;
}

static int run_version(const struct command_line *line, struct fetched *fetched)
{
	struct err why = {0};
	const char *agent = NULL;

	if (fetch_status(&line->from, fetched, &why) == 0 && !fetched->from_segment)
		agent = fetched->status->version;
	if (line->json)
		return command_json(json_pack("{s:s, s:i, s:o}", "mhactl", view_version(),
					      "protocol", CLIENT_VERSION, "agent",
					      json_text(agent)));
	printf("mhactl %s, protocol %d\nagent %s\n", view_version(), CLIENT_VERSION,
	       agent != NULL ? agent : "does not answer");
	return EXIT_DONE;
}

/* For what completes command lines, and for tests of documents. */
static json_t *verbs_to_json(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < COUNT_OF(VERBS); i++) {
		const struct verb *verb = &VERBS[i];
		json_t *options = json_array();

		for (size_t k = 0; OPTIONS[k].name != NULL; k++) {
			const unsigned bit = (unsigned)OPTIONS[k].val;

			if (bit < OPT_RUN_DIR && (bit & verb->options) != 0)
				json_array_append_new(options, json_string(OPTIONS[k].name));
		}
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:i, s:o}", "verb",
						      verb->name, "usage", verb->usage, "help",
						      verb->help, "arguments_min", (int)verb->min,
						      "arguments_max", (int)verb->max, "options",
						      options));
	}
	return list;
}

static int run_help(const struct command_line *line, struct fetched *fetched)
{
	UNUSED(fetched);
	if (line->json)
		return command_json(verbs_to_json());
	usage(stdout);
	return EXIT_DONE;
}

static bool parse_since(const char *text, struct command_line *line)
{
	char copy[48];
	char *dot;
	uint64_t sub = 0;

	if (!text_copy(copy, sizeof(copy), text))
		return false;
	dot = strchr(copy, '.');
	if (dot != NULL) {
		*dot = '\0';
		if (!text_parse_u64(dot + 1, &sub) || sub > UINT32_MAX)
			return false;
	}
	line->since_sub = (uint32_t)sub;
	return text_parse_u64(copy, &line->since_index);
}

static bool wrong_value(const char *name, const char *text, const char *wanted)
{
	fprintf(stderr, "mhactl: --%s %s: %s\n", name, text, wanted);
	return false;
}

static bool take_time(const char *name, const char *text, uint64_t *ms)
{
	return when_parse_time(text, clock_wall_ms(), ms) ||
	       wrong_value(name, text, "a time is wanted: +10min, 12:00 or 2026-01-31T12:00[Z]");
}

static bool take_span(const char *name, const char *text, uint64_t *ms)
{
	return when_parse_span(text, ms) ||
	       wrong_value(name, text, "a number and its unit are wanted: ms, s, min, h or d");
}

static bool take_timeout(const char *text, struct command_line *line)
{
	uint64_t ms;

	/* A bare number is in seconds. */
	if (text_parse_u64(text, &ms))
		ms = ms > UINT32_MAX ? UINT64_MAX : ms * 1000;
	else if (!take_span("timeout", text, &ms))
		return false;
	if (ms == 0 || ms > 7 * UINT64_C(86400000))
		return wrong_value("timeout", text, "more than 0 and at most 7d");
	line->wait_ms = (unsigned)ms;
	line->from.call_timeout_ms = ms < CALL_TIMEOUT_MS ? (unsigned)ms : CALL_TIMEOUT_MS;
	return true;
}

/* Options beyond the common ones; `given` collects them. False: wrong value. */
static bool take_option(int option, const char *value, struct command_line *line, unsigned *given)
{
	uint64_t span;

	*given |= (unsigned)option;
	switch (option) {
	case OPT_SINCE:
		return parse_since(value, line) ||
		       wrong_value("since", value,
				   "INDEX or INDEX.SUB is wanted, as the events carry them");
	case OPT_TO:
		line->to = value;
		return true;
	case OPT_AT:
		return take_time("at", value, &line->at_ms);
	case OPT_UNTIL:
		return take_time("until", value, &line->until_ms);
	case OPT_FOR:
		if (!take_span("for", value, &span))
			return false;
		line->until_ms = clock_wall_ms() + span;
		line->for_ms = span;
		return true;
	case OPT_DRY_RUN:
		line->dry_run = true;
		return true;
	case OPT_WAIT:
		line->wait = true;
		return true;
	case OPT_LOSS:
		line->accept_loss = true;
		return true;
	case OPT_YES:
		line->yes = true;
		return true;
	case OPT_QUORUM:
		line->quorum = value;
		return true;
	case OPT_CONFIG:
		line->config = value;
		return true;
	case OPT_PIN:
		line->pin = true;
		return true;
	default:
		line->force = true;
		return true;
	}
}

static bool parse_options(int argc, char **argv, struct command_line *line, unsigned *given)
{
	int option;

	while ((option = getopt_long(argc, argv, "r:e:jh", OPTIONS, NULL)) != -1) {
		bool right = true;

		switch (option) {
		case 'r':
		case OPT_RUN_DIR:
			line->from.run_dir = optarg;
			line->run_dir_given = true;
			break;
		case 'e':
		case OPT_ENDPOINT:
			line->from.endpoint = optarg;
			break;
		case OPT_HOST:
			line->from.remote.host = optarg;
			break;
		case OPT_KEY:
			line->from.remote.key_file = optarg;
			break;
		case OPT_SERVER_KEY:
			line->from.remote.server_key = optarg;
			break;
		case 'j':
		case OPT_JSON:
			line->json = true;
			break;
		case 'h':
		case OPT_HELP:
			line->help = true;
			break;
		case OPT_TIMEOUT:
			right = take_timeout(optarg, line);
			break;
		case '?':
			return false;
		default:
			right = take_option(option, optarg, line, given);
			break;
		}
		if (!right)
			return false;
	}
	return true;
}

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(VERBS); i++) {
		if (strcmp(VERBS[i].name, name) == 0)
			return &VERBS[i];
	}
	fprintf(stderr, "mhactl: unknown verb '%s'; known are:", name);
	for (size_t i = 0; i < COUNT_OF(VERBS); i++)
		fprintf(stderr, " %s", VERBS[i].name);
	fputc('\n', stderr);
	return NULL;
}

/* The verb takes these options and so many arguments. */
static bool verb_fits(const struct verb *verb, unsigned given, int arguments, bool help)
{
	for (size_t i = 0; OPTIONS[i].name != NULL; i++) {
		const unsigned bit = (unsigned)OPTIONS[i].val;

		if (bit < OPT_RUN_DIR && (given & bit & ~verb->options) != 0) {
			fprintf(stderr, "mhactl: %s takes no --%s\n", verb->name, OPTIONS[i].name);
			return false;
		}
	}
	if (arguments <= (int)verb->max && (arguments >= (int)verb->min || help))
		return true;
	fprintf(stderr, "usage: mhactl %s %s\n", verb->name, verb->usage);
	return false;
}

static int run_verb(const struct verb *verb, const struct command_line *line)
{
	struct fetched *fetched = calloc(1, sizeof(*fetched));
	int status;

	if (fetched == NULL) {
		fputs("mhactl: out of memory\n", stderr);
		return EXIT_ERROR;
	}
	status = verb->run(line, fetched);
	fetched_free(fetched);
	free(fetched);
	if (fflush(stdout) != 0 && status == EXIT_DONE)
		status = EXIT_ERROR;
	return status;
}

int main(int argc, char **argv)
{
	struct command_line line = {
		.from = {.run_dir = RUN_DIR_DEFAULT,
			 .timeout_ms = TIMEOUT_MS,
			 .call_timeout_ms = CALL_TIMEOUT_MS},
		.colours = isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == NULL,
		.wait_ms = WAIT_MS,
		.config = MHA_CONF_FILE,
	};
	const struct verb *verb;
	unsigned given = 0;

	if (!parse_options(argc, argv, &line, &given))
		return EXIT_USAGE;
	if (line.help && optind == argc) {
		usage(stdout);
		return EXIT_DONE;
	}
	if (line.from.remote.host != NULL && line.from.endpoint != NULL) {
		fputs("mhactl: --host and --endpoint exclude each other\n", stderr);
		return EXIT_USAGE;
	}
	if (optind == argc) {
		usage(stderr);
		return EXIT_USAGE;
	}
	/* A core file would hold the key. */
	if (line.from.remote.host != NULL && !OS_SANITIZED)
		(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	verb = verb_find(argv[optind++]);
	if (verb == NULL || !verb_fits(verb, given, argc - optind, line.help && argc == optind))
		return EXIT_USAGE;
	while (optind < argc && line.argument_count < ARGUMENTS_MAX)
		line.arguments[line.argument_count++] = argv[optind++];
	if (line.help) {
		printf("usage: mhactl %s %s\n  %s\n", verb->name, verb->usage, verb->help);
		return EXIT_DONE;
	}
	return run_verb(verb, &line);
}
