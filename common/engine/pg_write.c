/* Putting the agent's files on disk. Runs in a background thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "engine/pg_control.h"
#include "engine/pg_files.h"
#include "engine/pg_history.h"
#include "engine/pg_parse.h"
#include "os/clock.h"

#define SETTINGS_SIZE_MAX (1 << 20)

/* The OS user of dbmon, as the process table says. */
static const char *monitor_os_user(void)
{
	static const struct {
		const char *name, *user;
	} workers[] = {
#define WORKER(name, user, ...) {#name, user},
#include "workers.def"
#undef WORKER
	};

	for (size_t i = 0; i < COUNT_OF(workers); i++) {
		if (strcmp(workers[i].name, "dbmon") == 0 && workers[i].user != NULL)
			return workers[i].user;
	}
	return "nobody";
}

/* A stream into memory, closed into `text` (the caller's to free). */
struct writing {
	FILE *to;
	char *text;
	size_t size;
};

static int writing_open(struct writing *writing, struct err *why)
{
	writing->text = NULL;
	writing->to = open_memstream(&writing->text, &writing->size);
	if (writing->to == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	return 0;
}

static int writing_close(struct writing *writing, struct err *why)
{
	const bool failed = ferror(writing->to) != 0;

	if (fclose(writing->to) != 0 || failed || writing->text == NULL) {
		free(writing->text);
		writing->text = NULL;
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	}
	return 0;
}

static int write_passfile(const struct engine_control *control, struct err *why)
{
	struct writing writing;
	int rc;

	if ((rc = writing_open(&writing, why)) < 0)
		return rc;
	pg_files_passfile(writing.to, control->conf, control->secret);
	if ((rc = writing_close(&writing, why)) < 0)
		return rc;
	CHECK(writing.text != NULL);
	rc = file_write_changed(control->paths.side, PG_PASSFILE, writing.text, 0600, why);
	explicit_bzero(writing.text, writing.size);
	free(writing.text);
	return rc;
}

int write_side_directory(const struct engine_control *control, struct err *why)
{
	int rc;

	if ((rc = directory_ensure(control->paths.side, why)) < 0 ||
	    (rc = directory_ensure(control->paths.log_dir, why)) < 0)
		return rc;
	return write_passfile(control, why);
}

int write_standby_signal(const char *data_dir, struct err *why)
{
	if (file_exists(data_dir, PG_STANDBY_SIGNAL))
		return 0;
	return file_write(data_dir, PG_STANDBY_SIGNAL, "", 0600, why);
}

/* The agent's file is read after everything else in postgresql.conf. */
int write_include(const char *data_dir, struct err *why)
{
	static const char line[] = "include '" PG_SETTINGS_FILE "'\n";
	const size_t length = strlen(line);
	char *text, *longer;
	size_t size;
	int rc;

	if ((rc = file_read(data_dir, "postgresql.conf", SETTINGS_SIZE_MAX, &text, why)) < 0)
		return rc;
	size = strlen(text);
	if (size >= length && strcmp(text + size - length, line) == 0) {
		free(text);
		return 0;
	}
	longer = malloc(size + length + 2);
	if (longer == NULL) {
		free(text);
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	}
	memcpy(longer, text, size);
	if (size > 0 && text[size - 1] != '\n')
		longer[size++] = '\n';
	memcpy(longer + size, line, length + 1);
	free(text);
	rc = file_write(data_dir, "postgresql.conf", longer, 0600, why);
	free(longer);
	return rc;
}

/* What ALTER SYSTEM left there would override the agent's file. Only while no server runs. */
int strip_auto_conf(const char *data_dir, struct err *why)
{
	static const char name[] = "postgresql.auto.conf";
	char *text;
	int rc;

	rc = file_read(data_dir, name, SETTINGS_SIZE_MAX, &text, why);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return rc;
	if (pg_files_strip_auto(text))
		rc = file_write(data_dir, name, text, 0600, why);
	free(text);
	return rc;
}

/*
 * What commits wait for. '' releases every waiter at once, so an order without an opinion says that
 * it has none, and leaves what is there; one that waits for nobody means it, and the record was
 * weakened before it was given.
 */
static void choose_rule(const struct order *order, const char *earlier, char rule[PG_RULE_SIZE])
{
	if (order->keep_rule && earlier[0] != '\0')
		snprintf(rule, PG_RULE_SIZE, "%s", earlier);
	else
		pg_format_rule(order->rule, rule);
}

/*
 * A new reign begins with the configuration for a promotion; it ends with the next one, so that
 * what is written over a standby's configuration in between is not forgotten. "Alone" is never
 * taken back before: a report rather says "may have been" than "was not".
 */
static struct pg_served reign(const char *data_dir, const struct order *order,
			      struct pg_served served, const char *rule)
{
	const bool configures = order->kind == ORDER_DB_CONFIGURE && order->upstream == NODE_NONE;
	const bool standby = file_exists(data_dir, PG_STANDBY_SIGNAL);

	if (configures && standby && order->reserve_until > 0)
		served = (struct pg_served){.epoch = order->promise};
	else if (configures && !standby && served.epoch == 0)
		served.epoch = order->promise;
	if (rule[0] == '\0')
		served.alone = true;
	return served;
}

static int write_settings(const struct engine_control *control, const char *data_dir,
			  const struct order *order, struct err *why)
{
	struct pg_settings settings = {
		.conf = control->conf,
		.paths = &control->paths,
		.epoch = order->epoch,
		.promise = order->promise,
		.upstream = order->upstream,
		.written = clock_boot_ns(),
	};
	char rule[PG_RULE_SIZE], earlier[PG_RULE_SIZE] = "";
	struct writing writing;
	uint64_t promised;
	char *text = NULL;
	int rc;

	if (file_read(data_dir, PG_SETTINGS_FILE, SETTINGS_SIZE_MAX, &text, NULL) < 0 ||
	    !pg_files_read_rule(text, earlier, &settings.rule_written))
		earlier[0] = '\0';
	promised = text == NULL ? 0 : pg_files_read_promise(text);
	if (text != NULL)
		settings.served = pg_files_read_served(text);
	free(text);
	/* Who gave the order may have forgotten the promise over a restart; the file has not. */
	if (promised > settings.promise && order->upstream != NODE_NONE)
		return err_set(why, ERR_STALE,
			       "promised to take no WAL of epochs before %" PRIu64
			       ", the order is of %" PRIu64,
			       promised, settings.promise);
	if (promised > settings.promise)
		settings.promise = promised;
	choose_rule(order, earlier, rule);
	settings.rule = rule;
	settings.served = reign(data_dir, order, settings.served, rule);
	if (earlier[0] == '\0' || strcmp(earlier, rule) != 0)
		settings.rule_written = settings.written;
	if ((rc = writing_open(&writing, why)) < 0)
		return rc;
	rc = pg_files_settings(writing.to, &settings, why);
	if (rc < 0) {
		(void)writing_close(&writing, NULL);
		free(writing.text);
		return rc;
	}
	if ((rc = writing_close(&writing, why)) < 0)
		return rc;
	rc = file_write(data_dir, PG_SETTINGS_FILE, writing.text, 0600, why);
	free(writing.text);
	return rc;
}

static int write_access(const struct engine_control *control, const char *data_dir, struct err *why)
{
	for (int i = 0; i < 2; i++) {
		struct writing writing;
		int rc;

		if ((rc = writing_open(&writing, why)) < 0)
			return rc;
		if (i == 0)
			pg_files_hba(writing.to, control->conf);
		else
			pg_files_ident(writing.to, control->conf, monitor_os_user());
		if ((rc = writing_close(&writing, why)) < 0)
			return rc;
		rc = file_write_changed(data_dir, i == 0 ? "pg_hba.conf" : "pg_ident.conf",
					writing.text, 0600, why);
		free(writing.text);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Numbers are reserved for a promotion only; see pg_history.h. */
static int write_timelines(const struct engine_control *control, const char *data_dir,
			   const struct order *order, struct err *why)
{
	char wal[FILES_PATH_SIZE + 16];

	UNUSED(control);
	if (!file_exists(data_dir, PG_STANDBY_SIGNAL))
		return 0;
	snprintf(wal, sizeof(wal), "%s/pg_wal", data_dir);
	if (order->kind == ORDER_DB_CONFIGURE && order->upstream == NODE_NONE &&
	    order->reserve_until > 0)
		return pg_history_reserve(wal, order->reserve_until, why);
	return pg_history_release(wal, why);
}

int write_configuration(const struct engine_control *control, const char *data_dir,
			const struct order *order, struct err *why)
{
	int rc;

	if ((rc = write_side_directory(control, why)) < 0 ||
	    (rc = write_timelines(control, data_dir, order, why)) < 0 ||
	    (rc = write_access(control, data_dir, why)) < 0 ||
	    (rc = write_settings(control, data_dir, order, why)) < 0 ||
	    (rc = write_include(data_dir, why)) < 0)
		return err_in(why, rc, "configuration of the database");
	return 0;
}
