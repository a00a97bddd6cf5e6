#include "top/screen.h"

#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "top/render.h"

struct screen {
	struct source *source;
	bool colours;
	int signals; /* signalfd: what ends the program */
	int timer;
	struct top_model model;
	struct sections sections;
	struct view view;
	struct lines lines;
};

static attr_t attributes_of(const struct screen *screen, enum line_style style)
{
	static const struct {
		attr_t plain;
		short pair;
	} styles[LINE_STYLE_COUNT] = {
		[LINE_PLAIN] = {A_NORMAL, 0}, [LINE_TITLE] = {A_BOLD, 0},
		[LINE_HEADER] = {A_BOLD, 4},  [LINE_GOOD] = {A_NORMAL, 1},
		[LINE_WARN] = {A_NORMAL, 2},  [LINE_BAD] = {A_BOLD, 3},
		[LINE_DIM] = {A_DIM, 0},      [LINE_SELECTED] = {A_REVERSE, 0},
	};
	attr_t attributes = styles[style].plain;

	if (screen->colours && styles[style].pair != 0)
		attributes |= (attr_t)COLOR_PAIR(styles[style].pair);
	return attributes;
}

static void draw(struct screen *screen)
{
	struct lines *lines = &screen->lines;

	lines_init(lines, (unsigned)(COLS > 0 ? COLS : 80), (unsigned)(LINES > 0 ? LINES : 24));
	if (screen->model.help)
		top_render_help(lines);
	else
		top_render(&screen->model, &screen->view, lines);
	erase();
	for (unsigned row = 0; row < lines->count && row < lines->height; row++) {
		const struct line *line = &lines->list[row];
		const char *at = line->text;

		move((int)row, 0);
		for (unsigned i = 0; i < line->segment_count; i++) {
			attrset(attributes_of(screen, line->segments[i].style));
			addnstr(at, (int)line->segments[i].length);
			at += line->segments[i].length;
		}
	}
	attrset(A_NORMAL);
	refresh();
}

static void look(struct screen *screen)
{
	source_refresh(screen->source);
	source_read(screen->source, &screen->sections);
	view_build(&screen->sections, NULL, &screen->view);
	top_model_look(&screen->model, &screen->view);
}

/* False: quit. */
static bool key_pressed(struct screen *screen, int key)
{
	struct top_model *model = &screen->model;

	if (key == KEY_RESIZE)
		return true;
	if (model->help) {
		model->help = false;
		return key != 'q';
	}
	switch (key) {
	case 'q':
	case 'Q':
		return false;
	case 's':
		top_next_sort(model);
		break;
	case 'h':
	case '?':
		model->help = true;
		break;
	case KEY_UP:
	case 'k':
		top_select(model, &screen->view, -1);
		break;
	case KEY_DOWN:
	case 'j':
		top_select(model, &screen->view, 1);
		break;
	default:
		break;
	}
	return true;
}

static int open_descriptors(struct screen *screen, unsigned interval_ms, struct err *why)
{
	struct itimerspec every = {.it_interval = {.tv_sec = interval_ms / 1000,
						   .tv_nsec = interval_ms % 1000 * 1000000L}};
	sigset_t ends;

	every.it_value = every.it_interval;
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &ends, NULL) < 0 ||
	    (screen->signals = signalfd(-1, &ends, SFD_CLOEXEC)) < 0)
		return err_set_errno(why, ERR_IO, errno, "signals");
	screen->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (screen->timer < 0 || timerfd_settime(screen->timer, 0, &every, NULL) < 0)
		return err_set_errno(why, ERR_IO, errno, "timer");
	return 0;
}

static int open_terminal(struct screen *screen, struct err *why)
{
	if (newterm(NULL, stdout, stdin) == NULL)
		return err_set(why, ERR_IO,
			       "no terminal of type '%s' is known; --once prints plain text",
			       getenv("TERM") ? getenv("TERM") : "");
	cbreak();
	noecho();
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	curs_set(0);
	screen->colours = screen->colours && has_colors();
	if (!screen->colours)
		return 0;
	start_color();
	use_default_colors();
	init_pair(1, COLOR_GREEN, -1);
	init_pair(2, COLOR_YELLOW, -1);
	init_pair(3, COLOR_RED, -1);
	init_pair(4, COLOR_CYAN, -1);
	return 0;
}

static void loop(struct screen *screen)
{
	struct pollfd waits[] = {{.fd = STDIN_FILENO, .events = POLLIN},
				 {.fd = screen->signals, .events = POLLIN},
				 {.fd = screen->timer, .events = POLLIN}};
	uint64_t ticks;

	look(screen);
	for (;;) {
		int key;

		draw(screen);
		/* A resize interrupts the wait; ncurses tells of it as a key. */
		if (poll(waits, COUNT_OF(waits), -1) < 0 && errno != EINTR)
			return;
		if (waits[1].revents != 0 || (waits[0].revents & (POLLHUP | POLLERR)) != 0)
			return;
		while ((key = getch()) != ERR) {
			if (!key_pressed(screen, key))
				return;
		}
		if (read(screen->timer, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks))
			look(screen);
	}
}

int screen_run(struct source *source, unsigned interval_ms, bool colours, bool ascii,
	       struct err *why)
{
	struct screen *screen = calloc(1, sizeof(*screen));
	int rc;

	if (screen == NULL)
		return err_set(why, ERR_NO_MEMORY, "screen: %zu bytes", sizeof(*screen));
	screen->source = source;
	screen->colours = colours;
	screen->signals = screen->timer = -1;
	top_model_init(&screen->model);
	screen->model.ascii = ascii;
	rc = open_descriptors(screen, interval_ms, why);
	if (rc == 0 && (rc = open_terminal(screen, why)) == 0) {
		loop(screen);
		endwin();
	}
	if (screen->signals >= 0)
		close(screen->signals);
	if (screen->timer >= 0)
		close(screen->timer);
	free(screen);
	return rc;
}
