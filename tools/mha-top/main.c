/* mha-top: a live view of the local agent's status segment. docs/man/mha-top.1 is its contract. */
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "top/render.h"
#include "top/screen.h"
#include "top/svg.h"

#define RUN_DIR_DEFAULT  "/run/mha4rdb"
#define INTERVAL_DEFAULT 500
#define INTERVAL_MIN     50
#define INTERVAL_MAX     60000
#define ONCE_WIDTH       100
#define ONCE_HEIGHT      40

enum exit_status { EXIT_DONE = 0, EXIT_ERROR = 1, EXIT_USAGE = 2, EXIT_NO_AGENT = 3 };

struct command_line {
	const char *run_dir;
	unsigned interval_ms;
	bool once;
	bool svg;
	bool ascii;
};

static void usage(FILE *to)
{
	fprintf(to,
		"usage: mha-top [--run-dir DIR] [--interval MS] [--ascii] [--once [--svg]]\n\n"
		"  --run-dir DIR  paths.run_dir of the local agent (%s)\n"
		"  --interval MS  time between looks, %d..%d (%d)\n"
		"  --ascii        no block characters\n"
		"  --once         print the view as plain text and exit\n"
		"  --svg          with --once: print it as a picture\n"
		"  --help         this text\n\n"
		"Exit status: 0 done; 1 error; 2 wrong usage; 3 no status segment.\n",
		RUN_DIR_DEFAULT, INTERVAL_MIN, INTERVAL_MAX, INTERVAL_DEFAULT);
}

/* Returns an exit status, or -1 to go on. */
static int parse_options(int argc, char **argv, struct command_line *line)
{
	static const struct option options[] = {
		{"run-dir", required_argument, NULL, 'r'},
		{"interval", required_argument, NULL, 'i'},
		{"once", no_argument, NULL, 'o'},
		{"svg", no_argument, NULL, 'v'},
		{"ascii", no_argument, NULL, 'a'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	uint64_t number;
	int option;

	while ((option = getopt_long(argc, argv, "r:i:oh", options, NULL)) != -1) {
		switch (option) {
		case 'r':
			line->run_dir = optarg;
			break;
		case 'i':
			if (!text_parse_u64(optarg, &number) || number < INTERVAL_MIN ||
			    number > INTERVAL_MAX) {
				fprintf(stderr,
					"mha-top: --interval %s: %d..%d milliseconds are wanted\n",
					optarg, INTERVAL_MIN, INTERVAL_MAX);
				return EXIT_USAGE;
			}
			line->interval_ms = (unsigned)number;
			break;
		case 'o':
			line->once = true;
			break;
		case 'v':
			line->svg = true;
			break;
		case 'a':
			line->ascii = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_DONE;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind == argc && (line->once || !line->svg))
		return -1;
	usage(stderr);
	return EXIT_USAGE;
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

/* What is on the heap: too big for a stack frame. */
struct once {
	struct sections sections;
	struct view view;
	struct top_model model;
	struct lines lines;
};

static int run_once(struct source *source, const struct command_line *line)
{
	struct once *once = calloc(1, sizeof(*once));
	int status;

	if (once == NULL) {
		fputs("mha-top: out of memory\n", stderr);
		return EXIT_ERROR;
	}
	source_read(source, &once->sections);
	view_build(&once->sections, NULL, &once->view);
	top_model_init(&once->model);
	once->model.ascii = line->ascii;
	top_model_look(&once->model, &once->view);
	lines_init(&once->lines, ONCE_WIDTH, ONCE_HEIGHT);
	top_render(&once->model, &once->view, &once->lines);
	if (line->svg)
		status = svg_print(&once->lines, stdout) ? EXIT_DONE : EXIT_ERROR;
	else
		status = print_lines(&once->lines);
	free(once);
	return status;
}

static bool any_section(const struct source *source)
{
	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++) {
		if (source->mapped[id])
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct command_line line = {.run_dir = RUN_DIR_DEFAULT, .interval_ms = INTERVAL_DEFAULT};
	struct source source;
	struct err why = {0};
	int status = parse_options(argc, argv, &line);

	if (status >= 0)
		return status;
	(void)setlocale(LC_CTYPE, "");
	if (!line.svg && strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		line.ascii = true;
	if (source_init(&source, line.run_dir, &why) < 0) {
		fprintf(stderr, "mha-top: %s\n", why.text);
		return EXIT_USAGE;
	}
	if (!any_section(&source)) {
		fprintf(stderr,
			"mha-top: no status segment: %s; is mhad running here, with paths.run_dir "
			"%s? Try --run-dir\n",
			source.why[STATUS_MASTER].text, line.run_dir);
		return EXIT_NO_AGENT;
	}
	if (line.once) {
		status = run_once(&source, &line);
	} else if (screen_run(&source, line.interval_ms, getenv("NO_COLOR") == NULL, line.ascii,
			      &why) < 0) {
		fprintf(stderr, "mha-top: %s\n", why.text);
		status = EXIT_ERROR;
	} else {
		status = EXIT_DONE;
	}
	source_fini(&source);
	return status;
}
