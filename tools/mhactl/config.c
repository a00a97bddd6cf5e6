/* `mhactl config`: what is in effect and where it comes from, whether a file is good, and editing
 * it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macros.h"
#include "conf/conf.h"
#include "mhactl/command.h"
#include "view/format.h"
#include "view/json.h"

#define PATH_TEXT  512
#define VALUE_TEXT 64

/* show */

struct show {
	const Mha__Client__Settings *settings; /* of the cluster; NULL: not known */
	json_t *list;                          /* --json, else NULL */
};

/* The cluster's own copy of what the file only gives a new cluster; false: it has none. */
static bool cluster_value(const Mha__Client__Settings *settings, const char *key,
			  char text[VALUE_TEXT])
{
	const struct {
		const char *key;
		const char *word; /* NULL: the number */
		uint64_t number;
		const char *unit;
	} rows[] = {
		{"protection.mode", settings->mode, 0, ""},
		{"protection.quorum_sync", settings->quorum_sync == 0 ? "majority" : NULL,
		 settings->quorum_sync, ""},
		{"protection.pinned", settings->pinned ? "on" : "off", 0, ""},
		{"protection.max_lag", NULL, settings->max_lag_bytes, "B"},
		{"protection.max_lag_time", NULL, settings->max_lag_ms, "ms"},
		{"protection.degrade_after", NULL, settings->degrade_ms, "ms"},
		{"failover.budget", NULL, settings->failover_budget, ""},
		{"failover.auto", settings->auto_failover ? "on" : "off", 0, ""},
		{"failover.auto_primary_switch", settings->auto_primary_switch ? "on" : "off", 0,
		 ""},
		{"failover.switch_back_after", NULL, settings->switch_back_ms, "ms"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		if (strcmp(rows[i].key, key) != 0)
			continue;
		if (rows[i].word != NULL)
			snprintf(text, VALUE_TEXT, "%s", rows[i].word);
		else
			snprintf(text, VALUE_TEXT, "%" PRIu64 "%s", rows[i].number, rows[i].unit);
		return true;
	}
	return false;
}

static void show_value(void *arg, const struct conf_value *value)
{
	const struct show *show = arg;
	char own[VALUE_TEXT], source[32] = "default";
	const bool cluster =
		show->settings != NULL && cluster_value(show->settings, value->key, own);

	if (value->line > 0)
		snprintf(source, sizeof(source), "line %u", value->line);
	if (show->list != NULL) {
		json_array_append_new(
			show->list,
			json_pack("{s:s, s:o, s:s, s:o, s:o, s:s}", "key", value->key, "value",
				  json_text(cluster ? own : value->value), "source",
				  cluster ? "cluster" : (value->line > 0 ? "file" : "default"),
				  "line", value->line > 0 ? json_integer(value->line) : json_null(),
				  "file_value", json_text(value->value), "takes_effect",
				  value->effect));
		return;
	}
	if (cluster)
		printf("%-38s %-24s cluster (%s: %s)\n", value->key, own, source, value->value);
	else
		printf("%-38s %-24s %s\n", value->key, value->value, source);
}

static void print_cluster_only(const Mha__Client__Status *status)
{
	const Mha__Client__Settings *settings = status->settings;
	char until[FORMAT_SIZE];

	printf("%-38s %-24s cluster\n", "paused", settings->paused ? "yes" : "no");
	if (settings->paused && settings->pause_until_ms != 0)
		printf("%-38s %-24s cluster\n", "paused until",
		       format_time(settings->pause_until_ms, until));
	for (size_t i = 0; i < status->n_members; i++) {
		if (status->members[i]->maintenance)
			printf("%-38s %-24s cluster\n", "maintenance", status->members[i]->name);
	}
}

static int show(const struct command_line *line, struct fetched *fetched)
{
	struct show show = {.list = line->json ? json_array() : NULL};
	struct err why = {0};
	int rc;

	if (line->from.endpoint != NULL || line->from.remote.host != NULL) {
		fputs("mhactl: config show: the file is the local agent's; --host and --endpoint "
		      "show nothing of another one's\n",
		      stderr);
		return EXIT_USAGE;
	}
	if (fetch_status(&line->from, fetched, &why) == 0) {
		command_tell_source(fetched);
		show.settings = fetched->status->settings;
	}
	if (show.settings == NULL)
		fputs("mhactl: the cluster's own settings are not known here; the file's are shown "
		      "instead\n",
		      stderr);
	rc = conf_values(line->config, show_value, &show, &why);
	if (rc < 0) {
		json_decref(show.list);
		return command_failed(rc, &why);
	}
	if (line->json)
		return command_json(json_pack("{s:s, s:b, s:o}", "file", line->config,
					      "cluster_known", show.settings != NULL, "values",
					      show.list));
	if (show.settings != NULL)
		print_cluster_only(fetched->status);
	return EXIT_DONE;
}

/* check */

/* Both heap: too big for the stack. NULL: out of memory, or not readable; `why` says. */
static struct conf *read_file(const char *path, struct err *why)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (conf == NULL) {
		err_set(why, ERR_NO_MEMORY, "out of memory");
		return NULL;
	}
	if (conf_read(conf, path, why) == 0)
		return conf;
	free(conf);
	return NULL;
}

static int check(const struct command_line *line)
{
	const char *path = line->argument_count > 1 ? line->arguments[1] : line->config;
	struct err why = {0}, change = {0};
	struct conf *conf = read_file(path, &why);
	struct conf *now = conf != NULL && strcmp(path, line->config) != 0
				   ? read_file(line->config, &change)
				   : NULL;
	const bool restart = now != NULL && conf_reload_check(now, conf, &change) < 0;
	int status = conf != NULL ? EXIT_DONE : EXIT_ERROR;

	if (line->json)
		status = command_json(json_pack("{s:s, s:b, s:o, s:o}", "file", path, "valid",
						conf != NULL, "error", json_text(why.text),
						"needs_restart",
						json_text(restart ? change.text : ""))) == EXIT_DONE
				 ? status
				 : EXIT_ERROR;
	else if (conf != NULL)
		printf("%s: ok (cluster %s, node %s, %u members)\n", path, conf->cluster_name,
		       conf->node_name, conf->member_count);
	else
		fprintf(stderr, "mhactl: %s\n", why.text);
	if (restart && !line->json)
		printf("compared with %s: %s\n", line->config, change.text);
	free(conf);
	free(now);
	return status;
}

/* edit */

static int copy(int from, int to)
{
	char buffer[16384];
	ssize_t got;

	while ((got = read(from, buffer, sizeof(buffer))) > 0) {
		for (ssize_t sent = 0; sent < got;) {
			const ssize_t count = write(to, buffer + sent, (size_t)(got - sent));

			if (count < 0)
				return -1;
			sent += count;
		}
	}
	return got < 0 ? -1 : 0;
}

/* A copy beside the file, of the same owner and mode: what replaces it later in one step. */
static int make_draft(const char *path, const char *draft, struct err *why)
{
	const int from = open(path, O_RDONLY | O_CLOEXEC);
	struct stat file;
	int to, rc = 0;

	if (from < 0 || fstat(from, &file) != 0) {
		rc = err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s",
				   path);
		if (from >= 0)
			close(from);
		return rc;
	}
	to = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		rc = err_set_errno(why, errno == EACCES ? ERR_PERM : ERR_IO, errno, "%s%s", draft,
				   errno == EEXIST ? " (somebody edits it, or left it behind: "
						     "remove it)"
						   : "");
	else if (copy(from, to) < 0 || fchown(to, file.st_uid, file.st_gid) != 0 ||
		 fchmod(to, file.st_mode & 07777) != 0)
		rc = err_set_errno(why, ERR_IO, errno, "%s", draft);
	if (to >= 0 && close(to) != 0 && rc == 0)
		rc = err_set_errno(why, ERR_IO, errno, "%s", draft);
	if (to >= 0 && rc < 0)
		(void)unlink(draft);
	close(from);
	return rc;
}

/* As git does: $VISUAL or $EDITOR may have arguments of its own, so a shell splits it. */
static int run_editor(const char *draft, struct err *why)
{
	const char *editor = getenv("VISUAL");
	char command[PATH_TEXT];
	int status = -1;
	pid_t pid;

	if (editor == NULL || editor[0] == '\0')
		editor = getenv("EDITOR");
	if (editor == NULL || editor[0] == '\0')
		editor = "vi";
	snprintf(command, sizeof(command), "%s \"$1\"", editor);
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, editor, draft, (char *)NULL);
		_exit(127);
	}
	if (pid < 0)
		return err_set_errno(why, ERR_IO, errno, "start %s", editor);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return err_set_errno(why, ERR_IO, errno, "wait for %s", editor);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(why, ERR_REFUSED, "%s did not end well", editor);
	return 0;
}

static bool same_content(const char *a, const char *b)
{
	FILE *one = fopen(a, "re"), *other = fopen(b, "re");
	int c = EOF, d = 0;

	while (one != NULL && other != NULL) {
		c = fgetc(one);
		d = fgetc(other);
		if (c != d || c == EOF)
			break;
	}
	if (one != NULL)
		fclose(one);
	if (other != NULL)
		fclose(other);
	return one != NULL && other != NULL && c == d;
}

static bool asked_yes(const char *question)
{
	char typed[16] = "";

	if (isatty(STDIN_FILENO) != 1)
		return false;
	fprintf(stderr, "%s [y/N] ", question);
	return fgets(typed, sizeof(typed), stdin) != NULL && (typed[0] == 'y' || typed[0] == 'Y');
}

/* Durable before it is seen, and seen at once. */
static int put_in_place(const char *draft, const char *path, struct err *why)
{
	char folder[PATH_TEXT];
	const int file = open(draft, O_RDONLY | O_CLOEXEC);
	int directory, rc = 0;

	if (file < 0 || fsync(file) != 0 || rename(draft, path) != 0)
		rc = err_set_errno(why, ERR_IO, errno, "%s", draft);
	if (file >= 0)
		close(file);
	if (rc < 0)
		return rc;
	snprintf(folder, sizeof(folder), "%s", path);
	*(strrchr(folder, '/') != NULL ? strrchr(folder, '/') + 1 : folder) = '\0';
	directory = open(folder[0] != '\0' ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || fsync(directory) != 0)
		rc = err_set_errno(why, ERR_IO, errno, "%s", folder);
	if (directory >= 0)
		close(directory);
	return rc;
}

/* Until the draft is good, or the operator gives up: then it stays where it is. */
static struct conf *edit_until_good(const char *draft, struct err *why)
{
	for (;;) {
		struct conf *conf;

		if (run_editor(draft, why) < 0)
			return NULL;
		conf = read_file(draft, why);
		if (conf != NULL)
			return conf;
		fprintf(stderr, "mhactl: %s\n", why->text);
		if (!asked_yes("Edit it again?"))
			return NULL;
	}
}

static int offer_reload(const struct command_line *line, struct fetched *fetched,
			const struct err *change)
{
	if (change->code != 0) {
		printf("a reload does not take this: %s\n", change->text);
		return EXIT_DONE;
	}
	if (line->yes || asked_yes("Reload the agent now?"))
		return run_reload(line, fetched);
	puts("`mhactl reload` puts it into effect");
	return EXIT_DONE;
}

static int edit(const struct command_line *line, struct fetched *fetched)
{
	const char *path = line->config;
	struct err why = {0}, change = {0};
	struct conf *before = NULL, *after = NULL;
	char draft[PATH_TEXT];
	int rc, status = EXIT_DONE;

	snprintf(draft, sizeof(draft), "%s.edit", path);
	if ((rc = make_draft(path, draft, &why)) < 0)
		return command_failed(rc, &why);
	after = edit_until_good(draft, &why);
	if (after == NULL) {
		fprintf(stderr, "mhactl: %s\nmhactl: nothing was changed; your text is in %s\n",
			why.text, draft);
		return EXIT_ERROR;
	}
	if (same_content(draft, path)) {
		(void)unlink(draft);
		puts("unchanged");
	} else {
		before = read_file(path, &change);
		change = (struct err){0};
		if (before != NULL)
			(void)!conf_reload_check(before, after, &change);
		rc = put_in_place(draft, path, &why);
		status = rc < 0 ? command_failed(rc, &why) : offer_reload(line, fetched, &change);
	}
	free(before);
	free(after);
	return status;
}

int run_config(const struct command_line *line, struct fetched *fetched)
{
	const char *what = line->arguments[0];

	if (strcmp(what, "check") == 0)
		return check(line);
	if (line->argument_count > 1) {
		fprintf(stderr, "mhactl: config %s takes no file; name it with --config\n", what);
		return EXIT_USAGE;
	}
	if (strcmp(what, "show") == 0)
		return show(line, fetched);
	if (strcmp(what, "edit") == 0)
		return edit(line, fetched);
	fprintf(stderr, "mhactl: config: '%s' is none of show, check, edit\n", what);
	return EXIT_USAGE;
}
