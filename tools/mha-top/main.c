/* mha-top: a live view of a cluster. docs/man/mha-top.1 is its contract. */
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/text.h"
#include "client/remote.h"
#include "top/render.h"
#include "top/screen.h"
#include "top/svg.h"
#include "view/json.h"

#define RUN_DIR_DEFAULT  "/run/mha4rdb"
#define INTERVAL_DEFAULT 500
#define INTERVAL_MIN     50
#define INTERVAL_MAX     60000
#define ONCE_WIDTH       100
#define ONCE_HEIGHT      40
#define FIRST_ANSWER_MS  10000

enum exit_status { EXIT_DONE = 0, EXIT_ERROR = 1, EXIT_USAGE = 2, EXIT_NO_AGENT = 3 };

struct command_line {
	const char *run_dir;
	struct client_remote remote; /* host NULL: the local segment */
	const char *record;
	const char *replay;
	unsigned interval_ms; /* 0: none was given */
	unsigned width, height;
	enum top_page page; /* of --once */
	bool once;
	bool json;
	bool svg;
	bool mono;
	bool ascii;
};

static void usage(FILE *to)
{
	fprintf(to,
		"usage: mha-top [--run-dir DIR | HOST[:PORT] | --replay FILE] [--record FILE]\n"
		"               [--interval MS] [--ascii]\n"
		"               [--once [--json | --svg [--mono]] [--page PAGE] [--size WxH]]\n\n"
		"  HOST[:PORT]    ask the agent there (client.listen; port %d)\n"
		"  --key FILE     the client's key, for an agent that wants one\n"
		"  --server-key K that agent's public key, or a file with it (FILE.agents)\n"
		"  --run-dir DIR  paths.run_dir of the local agent, whose segment is read (%s)\n"
		"  --replay FILE  show what was recorded\n"
		"  --record FILE  record what is seen into a new file\n"
		"  --interval MS  time between looks, %d..%d (%d; of a replay: as recorded)\n"
		"  --ascii        no block characters\n"
		"  --once         print the view as plain text and exit; of a replay: its end\n"
		"  --json         with --once: print what the view is made of\n"
		"  --svg          with --once: print it as a picture\n"
		"  --mono         with --svg: without colours\n"
		"  --page PAGE    with --once: main, decision (the newest record) or help (main)\n"
		"  --size WxH     with --once: cells of the view (%dx%d)\n"
		"  --help         this text\n\n"
		"Exit status: 0 done; 1 error; 2 wrong usage; 3 no status segment, or no answer.\n",
		CLIENT_PORT, RUN_DIR_DEFAULT, INTERVAL_MIN, INTERVAL_MAX, INTERVAL_DEFAULT,
		ONCE_WIDTH, ONCE_HEIGHT);
}

static bool parse_size(const char *text, struct command_line *line)
{
	char end;

	return sscanf(text, "%ux%u%c", &line->width, &line->height, &end) == 2 &&
	       line->width >= 20 && line->width <= LINE_CELLS_MAX && line->height >= 5 &&
	       line->height <= LINES_MAX;
}

static bool parse_page(const char *text, struct command_line *line)
{
	static const struct {
		const char *name;
		enum top_page page;
	} pages[] = {
		{"main", TOP_PAGE_MAIN},
		{"decision", TOP_PAGE_DECISION},
		{"help", TOP_PAGE_HELP},
	};

	for (size_t i = 0; i < COUNT_OF(pages); i++)
		if (strcmp(text, pages[i].name) == 0) {
			line->page = pages[i].page;
			return true;
		}
	fprintf(stderr, "mha-top: --page %s: main, decision or help is wanted\n", text);
	return false;
}

static bool parse_interval(const char *text, struct command_line *line)
{
	uint64_t number;

	if (!text_parse_u64(text, &number) || number < INTERVAL_MIN || number > INTERVAL_MAX)
		return false;
	line->interval_ms = (unsigned)number;
	return true;
}

/* One option; false, with words, for a value that makes no sense. */
static bool take_option(int option, struct command_line *line)
{
	switch (option) {
	case 'r':
		line->run_dir = optarg;
		return true;
	case 'R':
		line->record = optarg;
		return true;
	case 'p':
		line->replay = optarg;
		return true;
	case 'i':
		if (!parse_interval(optarg, line)) {
			fprintf(stderr, "mha-top: --interval %s: %d..%d milliseconds are wanted\n",
				optarg, INTERVAL_MIN, INTERVAL_MAX);
			return false;
		}
		return true;
	case 'k':
		line->remote.key_file = optarg;
		return true;
	case 'K':
		line->remote.server_key = optarg;
		return true;
	case 'z':
		if (!parse_size(optarg, line)) {
			fprintf(stderr, "mha-top: --size %s: 20x5 to %dx%d is wanted\n", optarg,
				LINE_CELLS_MAX, LINES_MAX);
			return false;
		}
		return true;
	case 'g':
		return parse_page(optarg, line);
	case 'm':
		line->mono = true;
		return true;
	case 'o':
		line->once = true;
		return true;
	case 'j':
		line->json = true;
		return true;
	case 'v':
		line->svg = true;
		return true;
	case 'a':
		line->ascii = true;
		return true;
	default:
		return false;
	}
}

/* Returns an exit status, or -1 to go on. */
static int parse_options(int argc, char **argv, struct command_line *line)
{
	static const struct option options[] = {
		{"run-dir", required_argument, NULL, 'r'},
		{"record", required_argument, NULL, 'R'},
		{"replay", required_argument, NULL, 'p'},
		{"interval", required_argument, NULL, 'i'},
		{"size", required_argument, NULL, 'z'},
		{"once", no_argument, NULL, 'o'},
		{"json", no_argument, NULL, 'j'},
		{"svg", no_argument, NULL, 'v'},
		{"mono", no_argument, NULL, 'm'},
		{"page", required_argument, NULL, 'g'},
		{"ascii", no_argument, NULL, 'a'},
		{"help", no_argument, NULL, 'h'},
		{"key", required_argument, NULL, 'k'},
		{"server-key", required_argument, NULL, 'K'},
		{0},
	};
	unsigned sources;
	int option;

	while ((option = getopt_long(argc, argv, "r:i:oh", options, NULL)) != -1) {
		if (option == 'h') {
			usage(stdout);
			return EXIT_DONE;
		}
		if (!take_option(option, line))
			return EXIT_USAGE;
	}
	sources = (line->run_dir != NULL) + (line->replay != NULL) + (optind < argc);
	if (sources > 1 || argc - optind > 1 || (line->svg && line->json) ||
	    ((line->svg || line->json || line->width != 0 || line->page != TOP_PAGE_MAIN) &&
	     !line->once) ||
	    (line->mono && !line->svg) || (line->json && line->page != TOP_PAGE_MAIN) ||
	    (line->replay != NULL && line->record != NULL)) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (optind < argc)
		line->remote.host = argv[optind];
	return -1;
}

static int print_lines(const struct lines *lines)
{
	for (unsigned i = 0; i < lines->count; i++) {
		size_t length = lines->list[i].bytes;

		while (length > 0 && lines->list[i].text[length - 1] == ' ')
			length--;
		printf("%.*s\n", (int)length, lines->list[i].text);
	}
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_ERROR;
}

static int print_json(const Mha__Client__Frame *frame)
{
	json_t *history = frame->history != NULL ? history_to_json(frame->history) : json_null();
	json_t *whole = json_pack("{s:o, s:o, s:o}", "at", json_time(frame->wall_ms), "status",
				  status_to_json(frame->status), "history", history);
	char *text = json_print(whole, JSON_INDENT(2));

	if (text == NULL)
		return EXIT_ERROR;
	puts(text);
	free(text);
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_ERROR;
}

/* All of a recording, the segment as it is, or the first answer of the agent. */
static int read_once(struct origin *origin, struct top_model *model, struct err *why)
{
	struct pollfd wait = {.fd = origin_fd(origin), .events = POLLIN};
	int rc;

	if (wait.fd < 0) {
		do {
			rc = origin_next(origin, true, why);
			if (rc > 0)
				top_model_look(model, origin_frame(origin));
		} while (rc >= 0 && origin_at(origin) < origin_count(origin));
		return rc < 0 ? rc : 0;
	}
	while ((rc = origin_next(origin, true, why)) == 0 && origin_trouble(origin)[0] == '\0') {
		if (poll(&wait, 1, FIRST_ANSWER_MS) == 0)
			return err_set(why, ERR_TIMEOUT, "no answer");
	}
	if (rc > 0)
		top_model_look(model, origin_frame(origin));
	return rc < 0 ? rc : 0;
}

/* What is on the heap: too big for a stack frame. */
struct once {
	struct top_model model;
	struct lines lines;
};

static int show_once(struct origin *origin, const struct command_line *line, struct once *once)
{
	const Mha__Client__Frame *frame;
	struct err why = {0};

	top_model_init(&once->model);
	once->model.ascii = line->ascii;
	if (read_once(origin, &once->model, &why) < 0) {
		fprintf(stderr, "mha-top: %s\n", why.text);
		return why.code == ERR_TIMEOUT ? EXIT_NO_AGENT : EXIT_ERROR;
	}
	frame = origin_frame(origin);
	if (frame == NULL) {
		fprintf(stderr, "mha-top: %s\n", origin_trouble(origin));
		return EXIT_NO_AGENT;
	}
	if (line->json)
		return print_json(frame);
	if (line->page == TOP_PAGE_DECISION)
		top_show_decision(&once->model, frame);
	else
		once->model.page = line->page;
	lines_init(&once->lines, line->width ? line->width : ONCE_WIDTH,
		   line->height ? line->height : ONCE_HEIGHT);
	top_render(&once->model, frame, origin_trouble(origin), &once->lines);
	if (line->svg)
		return svg_print(&once->lines, !line->mono, stdout) ? EXIT_DONE : EXIT_ERROR;
	return print_lines(&once->lines);
}

static int run_once(struct origin *origin, const struct command_line *line)
{
	struct once *once = calloc(1, sizeof(*once));
	int status;

	if (once == NULL) {
		fputs("mha-top: out of memory\n", stderr);
		return EXIT_ERROR;
	}
	status = show_once(origin, line, once);
	free(once);
	return status;
}

static int open_remote(const struct command_line *line, struct origin **origin, struct err *why)
{
	const unsigned interval_ms = line->interval_ms ? line->interval_ms : INTERVAL_DEFAULT;
	char endpoint[CLIENT_ENDPOINT_SIZE];
	struct client_keys keys;
	int rc;

	if (line->remote.key_file == NULL) {
		rc = client_remote_endpoint(line->remote.host, endpoint, why);
		return rc < 0 ? rc : origin_open_remote(origin, endpoint, NULL, interval_ms, why);
	}
	rc = client_remote_find(&line->remote, endpoint, &keys, why);
	if (rc == 0)
		rc = origin_open_remote(origin, endpoint, &keys, interval_ms, why);
	explicit_bzero(&keys, sizeof(keys));
	return rc;
}

static int open_origin(const struct command_line *line, struct origin **origin, struct err *why)
{
	int rc;

	if (line->replay != NULL)
		rc = origin_open_replay(origin, line->replay, why);
	else if (line->remote.host != NULL)
		rc = open_remote(line, origin, why);
	else
		rc = origin_open_local(origin, line->run_dir ? line->run_dir : RUN_DIR_DEFAULT,
				       why);
	if (rc == 0 && line->record != NULL)
		rc = origin_record(*origin, line->record, why);
	return rc;
}

static int run_screen(struct origin *origin, const struct command_line *line, bool headless)
{
	struct screen_setup setup = {.interval_ms = line->interval_ms,
				     .colours = getenv("NO_COLOR") == NULL,
				     .ascii = line->ascii,
				     .replay = line->replay != NULL,
				     .headless = headless};
	struct err why = {0};

	if (line->replay == NULL && line->remote.host == NULL)
		setup.run_dir = line->run_dir ? line->run_dir : RUN_DIR_DEFAULT;
	if (setup.interval_ms == 0)
		setup.interval_ms = setup.replay ? origin_pace_ms(origin) : INTERVAL_DEFAULT;
	if (screen_run(origin, &setup, &why) == 0)
		return EXIT_DONE;
	fprintf(stderr, "mha-top: %s\n", why.text);
	return EXIT_ERROR;
}

/* A terminal that can do more than print lines. */
static bool has_terminal(void)
{
	const char *type = getenv("TERM");

	return isatty(STDOUT_FILENO) == 1 && isatty(STDIN_FILENO) == 1 && type != NULL &&
	       type[0] != '\0' && strcmp(type, "dumb") != 0;
}

int main(int argc, char **argv)
{
	struct command_line line = {0};
	struct origin *origin = NULL;
	struct err why = {0};
	int status = parse_options(argc, argv, &line);

	if (status >= 0)
		return status;
	(void)setlocale(LC_CTYPE, "");
	if (!line.svg && strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		line.ascii = true;
	if (open_origin(&line, &origin, &why) < 0) {
		fprintf(stderr, "mha-top: %s\n", why.text);
		origin_close(origin);
		return why.code == ERR_TOO_BIG     ? EXIT_USAGE
		       : why.code == ERR_NOT_FOUND ? EXIT_NO_AGENT
						   : EXIT_ERROR;
	}
	if (line.once || (!has_terminal() && line.record == NULL))
		status = run_once(origin, &line);
	else
		status = run_screen(origin, &line, !has_terminal());
	origin_close(origin);
	return status;
}
