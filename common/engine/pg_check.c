#include "engine/pg_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/pg_control.h"
#include "engine/pg_page.h"
#include "os/clock.h"

#define MS_NS UINT64_C(1000000)
/* A server that has just come up has better things to do. */
#define FIRST_MS UINT64_C(600000)
/* A pass that was cut off, or could not be run, is begun again after that. */
#define AGAIN_MS UINT64_C(60000)
/*
 * While damage is known, the next pass follows sooner, so that a repair is seen: after a pause of
 * so many times the length of the last one.
 */
#define DAMAGED_PAUSE 10

struct pg_check {
	struct engine_control *control;
	struct child *child; /* NULL: none runs */
	bool cut;            /* it is given up, and has not ended yet */
	bool reads;          /* it is the pass; else pg_controldata, which comes before it */
	struct pg_check_pass pass;
	struct engine_check seen;
	char program[FILES_PATH_SIZE];
	bool unavailable;
	uint64_t begun_ns;
	uint64_t begun_ms; /* wall clock */
	uint64_t took_ms;
	uint64_t next_ns;
};

/* The pure part */

static bool value_of(const char *line, const char *key, uint64_t *value)
{
	const size_t length = strlen(key);

	if (strncmp(line, key, length) != 0)
		return false;
	line += length;
	return text_parse_u64(line + strspn(line, " "), value);
}

void pg_check_control_line(struct pg_check_pass *pass, const char *line)
{
	if (value_of(line, "Data page checksum version:", &pass->checksums) ||
	    value_of(line, "Database block size:", &pass->page_bytes) ||
	    value_of(line, "Blocks per segment of large relation:", &pass->segment_blocks))
		pass->told++;
	pass->controlled = pass->told == 3;
}

bool pg_check_words(const char *line, char text[ENGINE_TEXT_SIZE])
{
	uint32_t block;
	unsigned stored, computed;
	char path[128];

	if (sscanf(line, "%" SCNu32 " %u %u %127s", &block, &stored, &computed, path) != 4)
		return false;
	snprintf(text, ENGINE_TEXT_SIZE, "block %" PRIu32 " of %s has checksum %04x, not %04x",
		 block, path, stored, computed);
	return true;
}

bool pg_check_line(struct pg_check_pass *pass, const char *line)
{
	uint64_t pages, bad, unread;
	int number;

	if (strncmp(line, "bad ", 4) == 0) {
		char text[ENGINE_TEXT_SIZE];

		if (!pg_check_words(line + 4, text))
			return false;
		if (pass->bad++ == 0)
			snprintf(pass->text, sizeof(pass->text), "%s", text);
		return true;
	}
	if (sscanf(line, "unread %d ", &number) == 1) {
		pass->unread++;
		return true;
	}
	if (sscanf(line, "done %" SCNu64 " %" SCNu64 " %" SCNu64, &pages, &bad, &unread) != 3)
		return false;
	pass->done = true;
	pass->pages = pages;
	pass->bad = bad;
	pass->unread = unread;
	return true;
}

/* What is known */

void check_tell(struct engine_control *control)
{
	struct engine_work *work = &control->work;
	const struct pg_check *check = control->check;

	if (check == NULL)
		return;
	work->check = check->seen;
	work->check.state = control->conf->check_interval_ms == 0 ? CHECK_OFF
			    : check->child != NULL                ? CHECK_RUNNING
			    : check->unavailable                  ? CHECK_UNAVAILABLE
								  : CHECK_WAITING;
}

static void set_damage(struct pg_check *check, uint64_t pages, const char *text)
{
	struct engine_check *seen = &check->seen;
	const bool news = (seen->damaged == 0) != (pages == 0);

	seen->damaged = pages;
	snprintf(seen->text, sizeof(seen->text), "%s", pages == 0 ? "" : text);
	if (news && pages > 0)
		log_event(LOG_ERROR, "database.damaged",
			  "directory=%s %s: this node's data are damaged; rebuild it from another "
			  "node, or repair the relation",
			  check->control->paths.data, seen->text);
	else if (news)
		log_event(LOG_NOTICE, "database.undamaged",
			  "directory=%s: no page is damaged any more", check->control->paths.data);
}

static void read_note(struct pg_check *check)
{
	char *text = NULL, first[ENGINE_TEXT_SIZE];
	uint64_t pages = 0;
	struct err why;

	if (file_read(check->control->paths.side, PG_CHECK_NOTE, PG_CHECK_NOTE_MAX, &text, &why) <
	    0)
		return;
	for (const char *at = text; *at != '\0'; at += strspn(at, "\n")) {
		char words[ENGINE_TEXT_SIZE];

		if (pg_check_words(at, words) && pages++ == 0)
			snprintf(first, sizeof(first), "%s", words);
		at += strcspn(at, "\n");
	}
	free(text);
	if (pages > 0)
		set_damage(check, pages, first);
}

/* A pass */

static void plan_next(struct pg_check *check, uint64_t pause_ms)
{
	const uint64_t interval_ms = check->control->conf->check_interval_ms;

	if (pause_ms > interval_ms)
		pause_ms = interval_ms;
	check->next_ns = clock_boot_ns() + pause_ms * MS_NS;
}

static void on_line(void *arg, const char *line)
{
	struct pg_check *check = arg;
	const uint64_t bad = check->pass.bad;

	if (check->cut)
		return;
	if (!check->reads) {
		pg_check_control_line(&check->pass, line);
		return;
	}
	if (!pg_check_line(&check->pass, line) || strncmp(line, "unread ", 7) == 0)
		log_event(LOG_WARNING, "database.check", "%.300s", line);
	if (check->pass.bad == bad || check->pass.done)
		return;
	if (check->pass.bad <= 10)
		log_event(LOG_ERROR, "database.check", "%.300s", line);
	if (check->seen.damaged < check->pass.bad) {
		set_damage(check, check->pass.bad, check->pass.text);
		control_changed(check->control);
	}
}

static void pass_done(struct pg_check *check)
{
	const struct pg_check_pass *pass = &check->pass;
	struct engine_check *seen = &check->seen;

	seen->passes++;
	seen->pages = pass->pages;
	seen->unread = pass->unread;
	seen->ended_ms = clock_wall_ms();
	check->took_ms = (clock_boot_ns() - check->begun_ns) / MS_NS;
	log_event(LOG_NOTICE, "database.checked",
		  "pages=%" PRIu64 " damaged=%" PRIu64 " unread=%" PRIu64 " seconds=%" PRIu64,
		  pass->pages, pass->bad, pass->unread, check->took_ms / 1000);
	/* What was not read is not known to be good. */
	if (pass->bad > 0)
		set_damage(check, pass->bad, pass->text);
	else if (pass->unread == 0)
		set_damage(check, 0, "");
	if (pass->bad == 0 && pass->unread == 0)
		seen->good_since_ms = check->begun_ms;
}

static void start_child(struct pg_check *check, const char *const *argv);

static void read_pages(struct pg_check *check)
{
	const struct engine_control *control = check->control;
	char rate[24], blocks[24];
	const char *argv[] = {check->program,      rate, blocks, control->paths.data,
			      control->paths.side, NULL};

	snprintf(rate, sizeof(rate), "%" PRIu64, control->conf->check_rate);
	snprintf(blocks, sizeof(blocks), "%" PRIu64, check->pass.segment_blocks);
	log_event(LOG_INFO, "database.check", "a pass begins at %s bytes per second", rate);
	check->reads = true;
	check->begun_ns = clock_boot_ns();
	check->begun_ms = clock_wall_ms();
	start_child(check, argv);
}

/* The data have checksums, in pages of the size that this build knows. */
static bool can_read(struct pg_check *check)
{
	const struct pg_check_pass *pass = &check->pass;
	const bool can = pass->controlled && pass->checksums != 0 &&
			 pass->page_bytes == PG_PAGE_BYTES && pass->segment_blocks > 0;

	if (!can && !check->unavailable)
		log_event(LOG_WARNING, "database.check", "the data are not checked: %s",
			  !pass->controlled      ? "pg_controldata does not say what they are"
			  : pass->checksums == 0 ? "they have no checksums (pg_checksums --enable)"
						 : "pages are not of 8192 bytes");
	check->unavailable = !can;
	return can;
}

static void on_ended(void *arg, const struct process_end *end)
{
	struct pg_check *check = arg;

	UNUSED(end);
	check->child = NULL;
	if (check->cut) {
		check->cut = false;
		return;
	}
	if (!check->reads && can_read(check)) {
		read_pages(check);
		return;
	}
	if (check->reads && check->pass.done) {
		pass_done(check);
		plan_next(check, check->seen.damaged > 0 ? check->took_ms * DAMAGED_PAUSE + AGAIN_MS
							 : UINT64_MAX);
	} else {
		plan_next(check, check->unavailable ? UINT64_MAX : AGAIN_MS);
	}
	control_changed(check->control);
}

static void start_child(struct pg_check *check, const char *const *argv)
{
	static const struct child_events events = {.line = on_line, .ended = on_ended};
	const struct child_spec spec = {.argv = argv};
	struct err why;

	if (child_start(&check->child, check->control->loop, &spec, &events, check, &why) == 0) {
		control_changed(check->control);
		return;
	}
	if (!check->unavailable)
		log_event(LOG_WARNING, "database.check", "the data are not checked: %s", why.text);
	check->child = NULL;
	check->unavailable = true;
	plan_next(check, UINT64_MAX);
}

/* What a pass reads is a running server's, and nothing is about to end or replace it. */
static bool may_read(const struct engine_control *control)
{
	return control->work.postmaster != 0 && !control->work.ending && control->ending == NULL &&
	       control->leaving == NULL &&
	       (control->job == NULL || control->job->plan->job == JOB_NONE);
}

void check_look(struct engine_control *control)
{
	struct pg_check *check = control->check;
	const uint64_t now = clock_boot_ns();
	char path[FILES_PATH_SIZE];
	const char *argv[] = {path, control->paths.data, NULL};

	if (control->conf->check_interval_ms == 0 || !may_read(control)) {
		check_cut(control);
		return;
	}
	if (check->child != NULL)
		return;
	/* A shorter interval that was loaded meanwhile counts at once. */
	if (check->next_ns > now + control->conf->check_interval_ms * MS_NS)
		plan_next(check, UINT64_MAX);
	if (now < check->next_ns || !pg_is_in_use(control->paths.data))
		return;
	memset(&check->pass, 0, sizeof(check->pass));
	check->reads = false;
	control_program(control, "pg_controldata", path);
	start_child(check, argv);
}

void check_cut(struct engine_control *control)
{
	struct pg_check *check = control->check;

	if (check == NULL || check->child == NULL || check->cut)
		return;
	child_kill(check->child);
	check->cut = true;
	log_event(LOG_INFO, "database.check",
		  "the pass is given up: the server ends, or its data change");
	plan_next(check, AGAIN_MS);
}

void check_forget(struct engine_control *control)
{
	struct pg_check *check = control->check;

	check_cut(control);
	set_damage(check, 0, "");
	check->seen.good_since_ms = check->seen.ended_ms = check->seen.pages = 0;
	check->unavailable = false;
	plan_next(check, FIRST_MS);
}

int check_open(struct engine_control *control, struct err *why)
{
	struct pg_check *check = calloc(1, sizeof(*check));

	if (check == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	check->control = control;
	child_beside(check->program, "mha-pagecheck");
	control->check = check;
	plan_next(check, FIRST_MS);
	read_note(check);
	check_tell(control);
	return 0;
}

void check_close(struct engine_control *control)
{
	struct pg_check *check = control->check;

	if (check == NULL)
		return;
	control->check = NULL;
	if (check->child != NULL) {
		child_kill(check->child);
		child_forget(check->child);
	}
	free(check);
}
