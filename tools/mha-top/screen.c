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

#include "top/ask.h"
#include "top/render.h"

#define KEY_ESCAPE  27
#define ESCAPE_MS   50
#define SPEED_MAX   64
#define REWATCH_MAX 200 /* frames that are looked at again after a step back */

struct screen {
	struct origin *origin;
	const struct screen_setup *setup;
	bool colours;
	bool over;
	int signals; /* signalfd: what ends the program */
	int timer;
	struct asking asking;
	struct top_model model;
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
	top_render(&screen->model, origin_frame(screen->origin), origin_trouble(screen->origin),
		   lines);
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

static int look(struct screen *screen, bool tick, struct err *why)
{
	struct top_model *model = &screen->model;
	int rc;

	do {
		rc = origin_next(screen->origin, tick, why);
		if (rc > 0)
			top_model_look(model, origin_frame(screen->origin));
		tick = false;
	} while (rc > 0);
	model->replay_at = origin_at(screen->origin);
	model->replay_count = origin_count(screen->origin);
	return rc;
}

static int on_tick(struct screen *screen, struct err *why)
{
	unsigned turns = screen->setup->replay ? screen->model.replay_speed : 1;
	int rc = 0;

	if (screen->setup->replay && screen->model.paused)
		return 0;
	while (turns-- > 0 && rc >= 0)
		rc = look(screen, true, why);
	return rc;
}

/* Show frame `at` of the recording, with what came before it in mind. */
static int go_to(struct screen *screen, unsigned at, struct err *why)
{
	const struct top_model before = screen->model;
	struct top_model *model = &screen->model;
	int rc = 0;

	if (at < 1 || at > origin_count(screen->origin))
		return 0;
	top_model_init(model);
	origin_seek(screen->origin, at > REWATCH_MAX ? at - REWATCH_MAX : 1);
	do {
		rc = look(screen, true, why);
	} while (rc >= 0 && origin_at(screen->origin) < at);
	model->sort = before.sort;
	model->selected = before.selected;
	model->ascii = before.ascii;
	model->replay = true;
	model->paused = true;
	model->replay_speed = before.replay_speed;
	return rc;
}

static void confirm_key(struct screen *screen, int key)
{
	struct top_model *model = &screen->model;
	struct err why = {0};

	if (key == KEY_ESCAPE) {
		model->page = TOP_PAGE_MAIN;
		return;
	}
	if (key != '\n' && key != '\r' && key != KEY_ENTER) {
		top_type(model, key == KEY_BACKSPACE || key == 127 ? '\b' : key);
		return;
	}
	model->page = TOP_PAGE_ANSWER;
	if (!top_confirmed(model))
		snprintf(model->answer, sizeof(model->answer),
			 "'%s' is not %s: nothing was changed.", model->typed, model->target);
	else if (asking_begin(&screen->asking, screen->setup->run_dir, model->target, &why) < 0)
		snprintf(model->answer, sizeof(model->answer), "Nothing was asked for: %s.",
			 why.text);
	else
		snprintf(model->answer, sizeof(model->answer), "Asking for the switchover to %s.",
			 model->target);
}

static int replay_key(struct screen *screen, int key, struct err *why)
{
	struct top_model *model = &screen->model;

	switch (key) {
	case ' ':
		model->paused = !model->paused;
		return 0;
	case '+':
		if (model->replay_speed < SPEED_MAX)
			model->replay_speed *= 2;
		return 0;
	case '-':
		if (model->replay_speed > 1)
			model->replay_speed /= 2;
		return 0;
	case KEY_LEFT:
		return go_to(screen, origin_at(screen->origin) - 1, why);
	case KEY_RIGHT:
		return go_to(screen, origin_at(screen->origin) + 1, why);
	default:
		return 0;
	}
}

static int main_key(struct screen *screen, int key, struct err *why)
{
	const Mha__Client__Frame *frame = origin_frame(screen->origin);
	struct top_model *model = &screen->model;

	if (key == 'q' || key == 'Q')
		screen->over = true;
	if (frame == NULL)
		return 0;
	switch (key) {
	case 's':
		top_next_sort(model);
		return 0;
	case 'S':
		top_begin_switch(model, frame->status);
		return 0;
	case 'h':
	case '?':
		model->page = TOP_PAGE_HELP;
		return 0;
	case 'd':
	case '\n':
	case '\r':
	case KEY_ENTER:
		top_show_decision(model, frame);
		return 0;
	case KEY_UP:
	case 'k':
		top_select(model, frame->status, -1);
		return 0;
	case KEY_DOWN:
	case 'j':
		top_select(model, frame->status, 1);
		return 0;
	default:
		return screen->setup->replay ? replay_key(screen, key, why) : 0;
	}
}

static int key_pressed(struct screen *screen, int key, struct err *why)
{
	struct top_model *model = &screen->model;

	if (key == KEY_RESIZE)
		return 0;
	switch (model->page) {
	case TOP_PAGE_MAIN:
		return main_key(screen, key, why);
	case TOP_PAGE_CONFIRM:
		confirm_key(screen, key);
		return 0;
	case TOP_PAGE_DECISION:
		if (key == KEY_LEFT || key == KEY_RIGHT) {
			top_step_decision(model, origin_frame(screen->origin),
					  key == KEY_LEFT ? 1 : -1);
			return 0;
		}
		break;
	default:
		break;
	}
	screen->over = key == 'q';
	model->page = TOP_PAGE_MAIN;
	return 0;
}

static int open_descriptors(struct screen *screen, struct err *why)
{
	const unsigned ms = screen->setup->interval_ms;
	struct itimerspec every = {
		.it_interval = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}};
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
	nonl();
	set_escdelay(ESCAPE_MS);
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	curs_set(0);
	screen->colours = screen->setup->colours && has_colors();
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

static int read_keys(struct screen *screen, struct err *why)
{
	int key, rc = 0;

	while (!screen->over && rc >= 0 && (key = getch()) != ERR)
		rc = key_pressed(screen, key, why);
	return rc;
}

static void take_answer(struct screen *screen)
{
	if (!asking_read(&screen->asking))
		return;
	snprintf(screen->model.answer, sizeof(screen->model.answer), "%s", screen->asking.text);
	screen->model.page = TOP_PAGE_ANSWER;
}

static int loop(struct screen *screen, struct err *why)
{
	const bool drawn = !screen->setup->headless;
	uint64_t ticks;
	int rc = look(screen, true, why);

	while (rc >= 0 && !screen->over) {
		struct pollfd waits[] = {
			{.fd = drawn ? STDIN_FILENO : -1, .events = POLLIN},
			{.fd = screen->signals, .events = POLLIN},
			{.fd = screen->timer, .events = POLLIN},
			{.fd = origin_fd(screen->origin), .events = POLLIN},
			{.fd = screen->asking.fd, .events = POLLIN},
		};

		if (drawn)
			draw(screen);
		/* A resize interrupts the wait; ncurses tells of it as a key. */
		if (poll(waits, COUNT_OF(waits), -1) < 0 && errno != EINTR)
			return err_set_errno(why, ERR_IO, errno, "poll");
		if (waits[1].revents != 0 || (waits[0].revents & (POLLHUP | POLLERR)) != 0)
			return 0;
		if (drawn && (rc = read_keys(screen, why)) < 0)
			return rc;
		if (waits[4].revents != 0)
			take_answer(screen);
		if (waits[3].revents != 0 && (rc = look(screen, false, why)) < 0)
			return rc;
		if (read(screen->timer, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks))
			rc = on_tick(screen, why);
	}
	return rc < 0 ? rc : 0;
}

int screen_run(struct origin *origin, const struct screen_setup *setup, struct err *why)
{
	struct screen *screen = calloc(1, sizeof(*screen));
	int rc;

	if (screen == NULL)
		return err_set(why, ERR_NO_MEMORY, "screen: %zu bytes", sizeof(*screen));
	screen->origin = origin;
	screen->setup = setup;
	screen->signals = screen->timer = -1;
	asking_init(&screen->asking);
	top_model_init(&screen->model);
	screen->model.ascii = setup->ascii;
	screen->model.may_call = setup->run_dir != NULL;
	screen->model.replay = setup->replay;
	rc = open_descriptors(screen, why);
	if (rc == 0 && setup->headless) {
		rc = loop(screen, why);
	} else if (rc == 0 && (rc = open_terminal(screen, why)) == 0) {
		rc = loop(screen, why);
		endwin();
	}
	asking_end(&screen->asking);
	if (screen->signals >= 0)
		close(screen->signals);
	if (screen->timer >= 0)
		close(screen->timer);
	free(screen);
	return rc;
}
