/*
 * The database is asked as its own user over the local socket, which the agent's pg_hba.conf lets
 * in without a password. The child that asks gives root up before libpq is called, and is killed
 * when it takes too long: a server that is frozen answers nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "os/clock.h"
#include "os/user.h"
#include "probe.h"

#define DEADLINE_MS 10000
#define MS_PER_NS   UINT64_C(1000000)

static const char QUERY[] =
	"SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes',"
	" 'synchronous_commit', 'wal_level', 'hot_standby', 'max_wal_senders', 'wal_keep_size',"
	" 'wal_log_hints', 'data_checksums')"
	" UNION ALL SELECT 'mha4rdb.epoch', coalesce(current_setting('mha4rdb.epoch', true), '')"
	" UNION ALL SELECT 'archive_failing', CASE WHEN last_failed_time >"
	" coalesce(last_archived_time, '-infinity') THEN 'on' ELSE 'off' END FROM pg_stat_archiver"
	" UNION ALL SELECT 'slot', slot_name || CASE WHEN active THEN ' active ' ELSE ' inactive '"
	" END || greatest(coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN"
	" pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0), 0)::bigint"
	" FROM pg_replication_slots"
	" UNION ALL SELECT 'override', coalesce('role ' || rolname, 'every role') ||"
	" coalesce(' in database ' || datname, '') || ' has ' || s"
	" FROM pg_db_role_setting CROSS JOIN unnest(setconfig) s"
	" LEFT JOIN pg_roles r ON r.oid = setrole LEFT JOIN pg_database d ON d.oid = setdatabase"
	" WHERE s LIKE 'synchronous_commit=%' AND s NOT IN ('synchronous_commit=on',"
	" 'synchronous_commit=remote_apply')"
	" UNION ALL SELECT 'foreign_standby', application_name || ' from ' ||"
	" coalesce(client_addr::text, 'the local socket') FROM pg_stat_replication"
	" WHERE state = 'streaming' AND application_name NOT LIKE 'mha\\_n%'";

/* Lines "NAME\tVALUE"; a line that begins with '!' is what went wrong. */
static void print_rows(const PGresult *result, FILE *to)
{
	for (int i = 0; i < PQntuples(result); i++)
		fprintf(to, "%s\t%s\n", PQgetvalue(result, i, 0), PQgetvalue(result, i, 1));
}

static void print_failure(const char *text, FILE *to)
{
	fprintf(to, "!%.*s\n", (int)strcspn(text, "\n"), text);
}

static void ask(const struct conf *conf, FILE *to)
{
	char port[8];
	const char *const names[] = {
		"host", "port", "user", "dbname", "options", "application_name", "connect_timeout",
		NULL};
	const char *const values[] = {conf->pg_socket_dir,
				      port,
				      conf->pg_os_user,
				      conf->pg_dbname,
				      "-c search_path=pg_catalog -c statement_timeout=5000 "
				      "-c default_transaction_read_only=on",
				      "mhactl doctor",
				      "5",
				      NULL};
	PGconn *connection;
	PGresult *result;

	snprintf(port, sizeof(port), "%u", (unsigned)conf_self(conf)->postgres_port);
	connection = PQconnectdbParams(names, values, 0);
	if (PQstatus(connection) != CONNECTION_OK) {
		print_failure(PQerrorMessage(connection), to);
		PQfinish(connection);
		return;
	}
	result = PQexec(connection, QUERY);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		print_rows(result, to);
	else
		print_failure(PQerrorMessage(connection), to);
	PQclear(result);
	PQfinish(connection);
}

/* Never returns. */
static void child(const struct conf *conf, const struct os_user *user, int fd)
{
	FILE *to = fdopen(fd, "w");

	if (to == NULL)
		_exit(1);
	if (geteuid() == 0 && (initgroups(user->name, user->gid) != 0 || setgid(user->gid) != 0 ||
			       setuid(user->uid) != 0))
		print_failure(strerror(errno), to);
	else
		ask(conf, to);
	_exit(fflush(to) == 0 ? 0 : 1);
}

static void take_line(struct doctor_facts *facts, char *line)
{
	char *tab = strchr(line, '\t');
	struct doctor_pair *pair;

	if (line[0] == '!') {
		err_set(&facts->database_why, ERR_IO, "%s", line + 1);
		return;
	}
	if (tab == NULL || facts->pair_count == DOCTOR_PAIRS_MAX)
		return;
	*tab = '\0';
	pair = &facts->pairs[facts->pair_count++];
	snprintf(pair->name, sizeof(pair->name), "%s", line);
	snprintf(pair->value, sizeof(pair->value), "%s", tab + 1);
}

static void take_text(struct doctor_facts *facts, char *text)
{
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest))
		take_line(facts, line);
	facts->asked = facts->database_why.code == 0;
	if (facts->pair_count == 0 && facts->database_why.code == 0) {
		facts->asked = false;
		err_set(&facts->database_why, ERR_IO, "it said nothing");
	}
}

/* Everything until the other side closes; false: the deadline passed. */
static bool read_all(int fd, char *text, size_t room)
{
	const uint64_t end = clock_boot_ns() / MS_PER_NS + DEADLINE_MS;
	size_t size = 0;

	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		const uint64_t now = clock_boot_ns() / MS_PER_NS;
		ssize_t count;

		text[size] = '\0';
		if (now >= end || poll(&ready, 1, (int)(end - now)) == 0)
			return false;
		count = read(fd, text + size, room - 1 - size);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0 || size + (size_t)count == room - 1)
			return true;
		size += (size_t)count;
	}
}

void probe_database(struct doctor_facts *facts)
{
	static const size_t ROOM = 65536;
	struct os_user user;
	char *text;
	int ends[2];
	pid_t pid;

	if (facts->conf == NULL || conf_self(facts->conf)->kind != MEMBER_DATA ||
	    user_find(&user, facts->conf->pg_os_user, &facts->database_why) < 0 ||
	    (!facts->root && user.uid != geteuid()))
		return;
	text = calloc(1, ROOM);
	if (text == NULL || pipe2(ends, O_CLOEXEC) != 0) {
		free(text);
		return;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(facts->conf, &user, ends[1]);
	close(ends[1]);
	if (pid > 0) {
		if (read_all(ends[0], text, ROOM))
			take_text(facts, text);
		else
			err_set(&facts->database_why, ERR_TIMEOUT, "no answer for %d s",
				DEADLINE_MS / 1000);
		/* It is our child and not reaped yet: the pid is nobody else's. */
		(void)kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
	close(ends[0]);
	free(text);
}
