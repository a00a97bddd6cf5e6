/* mhactl: asks the local agent, shows the answer, exits. docs/man/mhactl.1 is its contract. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/text.h"
#include "mhactl/fetch.h"
#include "mhactl/print.h"
#include "view/json.h"

#define RUN_DIR_DEFAULT "/run/mha4rdb"
#define TIMEOUT_MS      2000

enum exit_status { EXIT_ANSWERED = 0, EXIT_ERROR = 1, EXIT_USAGE = 2, EXIT_NO_AGENT = 3 };

struct command_line {
	struct fetch_from from;
	bool json;
	bool colours;
	uint64_t since_index;
	uint32_t since_sub;
	bool since;
};

typedef int (*verb_function)(const struct command_line *line, struct fetched *fetched);

struct verb {
	const char *name;
	verb_function run;
	const char *help;
};

static int run_status(const struct command_line *line, struct fetched *fetched);
static int run_list(const struct command_line *line, struct fetched *fetched);
static int run_history(const struct command_line *line, struct fetched *fetched);
static int run_events(const struct command_line *line, struct fetched *fetched);
static int run_version(const struct command_line *line, struct fetched *fetched);
static int run_help(const struct command_line *line, struct fetched *fetched);

static const struct verb VERBS[] = {
	{"status", run_status, "the cluster: who serves, why, and every member"},
	{"list", run_list, "the members only"},
	{"history", run_history, "every decision that is kept: cause, inputs, phase times"},
	{"events", run_events, "events that the agent remembers (--since INDEX.SUB)"},
	{"version", run_version, "versions of this program and of the agent"},
	{"help", run_help, "this text"},
};

static void usage(FILE *to)
{
	fputs("usage: mhactl [--run-dir DIR] [--endpoint ENDPOINT] [--json] VERB\n\n", to);
	for (size_t i = 0; i < COUNT_OF(VERBS); i++)
		fprintf(to, "  %-9s %s\n", VERBS[i].name, VERBS[i].help);
	fputs("\n  --run-dir DIR   paths.run_dir of the local agent (" RUN_DIR_DEFAULT ")\n"
	      "  --endpoint E    ask there instead: tcp://address:port or ipc:///path\n"
	      "  --json          print JSON\n"
	      "\nExit status: 0 answered; 1 error; 2 wrong usage; 3 no agent and no segment.\n",
	      to);
}

static int failed(int rc, const struct err *why)
{
	fprintf(stderr, "mhactl: %s\n", why->text);
	return rc == ERR_NOT_FOUND || rc == ERR_GONE || rc == ERR_TIMEOUT ? EXIT_NO_AGENT
									  : EXIT_ERROR;
}

static int print_json(json_t *value)
{
	char *text = json_print(value, JSON_INDENT(2));

	if (text == NULL) {
		fputs("mhactl: out of memory\n", stderr);
		return EXIT_ERROR;
	}
	puts(text);
	free(text);
	return EXIT_ANSWERED;
}

/* The segment may be older than it looks: say where the answer comes from. */
static void tell_source(const struct fetched *fetched)
{
	if (fetched->from_segment)
		fprintf(stderr,
			"mhactl: the agent does not answer (%s); this is its status segment, "
			"last written %.1f s ago\n",
			fetched->agent_why.text,
			fetched->view.age_ms < 0 ? 0 : (double)fetched->view.age_ms / 1e3);
}

static int run_status(const struct command_line *line, struct fetched *fetched)
{
	struct err why = {0};
	int rc = fetch_status(&line->from, fetched, &why);

	if (rc < 0)
		return failed(rc, &why);
	tell_source(fetched);
	if (line->json)
		return print_json(status_to_json(fetched->status));
	print_status(fetched->status, line->colours, stdout);
	return EXIT_ANSWERED;
}

static int run_list(const struct command_line *line, struct fetched *fetched)
{
	struct err why = {0};
	int rc = fetch_status(&line->from, fetched, &why);
	json_t *status, *members;

	if (rc < 0)
		return failed(rc, &why);
	tell_source(fetched);
	if (!line->json) {
		print_list(fetched->status, line->colours, stdout);
		return EXIT_ANSWERED;
	}
	status = status_to_json(fetched->status);
	members = json_incref(json_object_get(status, "members"));
	json_decref(status);
	return print_json(members);
}

static int run_history(const struct command_line *line, struct fetched *fetched)
{
	struct err why = {0};
	int rc = fetch_history(&line->from, fetched, &why);

	if (rc < 0)
		return failed(rc, &why);
	tell_source(fetched);
	if (line->json)
		return print_json(history_to_json(fetched->history));
	print_history(fetched->history, line->colours, stdout);
	return EXIT_ANSWERED;
}

static int run_events(const struct command_line *line, struct fetched *fetched)
{
	struct err why = {0};
	int rc = fetch_events(&line->from, line->since_index, line->since_sub, fetched, &why);

	if (rc < 0)
		return failed(rc, &why);
	if (line->json)
		return print_json(events_to_json(fetched->events));
	print_events(fetched->events, stdout);
	return EXIT_ANSWERED;
}

static int run_version(const struct command_line *line, struct fetched *fetched)
{
	struct err why = {0};
	const char *agent = NULL;

	if (fetch_status(&line->from, fetched, &why) == 0 && !fetched->from_segment)
		agent = fetched->status->version;
	if (line->json)
		return print_json(json_pack("{s:s, s:i, s:o}", "mhactl", view_version(), "protocol",
					    CLIENT_VERSION, "agent", json_text(agent)));
	printf("mhactl %s, protocol %d\nagent %s\n", view_version(), CLIENT_VERSION,
	       agent != NULL ? agent : "does not answer");
	return EXIT_ANSWERED;
}

static int run_help(const struct command_line *line, struct fetched *fetched)
{
	UNUSED(line);
	UNUSED(fetched);
	usage(stdout);
	return EXIT_ANSWERED;
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
	line->since = true;
	line->since_sub = (uint32_t)sub;
	return text_parse_u64(copy, &line->since_index);
}

static bool parse_options(int argc, char **argv, struct command_line *line)
{
	static const struct option options[] = {
		{"run-dir", required_argument, NULL, 'r'},
		{"endpoint", required_argument, NULL, 'e'},
		{"json", no_argument, NULL, 'j'},
		{"since", required_argument, NULL, 's'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "r:e:j", options, NULL)) != -1) {
		switch (option) {
		case 'r':
			line->from.run_dir = optarg;
			break;
		case 'e':
			line->from.endpoint = optarg;
			break;
		case 'j':
			line->json = true;
			break;
		case 's':
			if (parse_since(optarg, line))
				break;
			fprintf(stderr,
				"mhactl: --since %s: INDEX or INDEX.SUB is wanted, as the events "
				"carry them\n",
				optarg);
			return false;
		default:
			return false;
		}
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

int main(int argc, char **argv)
{
	struct command_line line = {
		.from = {.run_dir = RUN_DIR_DEFAULT, .timeout_ms = TIMEOUT_MS},
		.colours = isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == NULL,
	};
	const struct verb *verb;
	struct fetched *fetched;
	int status;

	if (!parse_options(argc, argv, &line))
		return EXIT_USAGE;
	if (argc - optind != 1) {
		usage(stderr);
		return EXIT_USAGE;
	}
	verb = verb_find(argv[optind]);
	if (verb == NULL)
		return EXIT_USAGE;
	if (line.since && verb->run != run_events) {
		fprintf(stderr, "mhactl: --since belongs to events, not to %s\n", verb->name);
		return EXIT_USAGE;
	}
	fetched = calloc(1, sizeof(*fetched));
	if (fetched == NULL) {
		fputs("mhactl: out of memory\n", stderr);
		return EXIT_ERROR;
	}
	status = verb->run(&line, fetched);
	fetched_free(fetched);
	free(fetched);
	if (fflush(stdout) != 0 && status == EXIT_ANSWERED)
		status = EXIT_ERROR;
	return status;
}
