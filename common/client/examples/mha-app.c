/*
 * A small application that survives failovers: it writes rows, one after the other, and goes on
 * where it was when the primary moves. Every write is repeated until the database has confirmed
 * it; since a lost connection leaves open whether a commit took place, writes are made so that
 * repeating them is harmless.
 *
 *   mha-app [-t TABLE] [-n ROWS] [-g GAP_MS] [-m MAX_ERRORS] [-r] [-p KEYWORD=VALUE]... SEEDS
 *
 * -r reads each row back from a replica that has replayed it (read your writes).
 * Ends when ROWS are written, on SIGTERM, or when MAX_ERRORS attempts in a row have failed, and
 * prints one line of JSON with what it counted. Exit code 0: everything was written and read.
 *
 * cc mha-app.c $(pkg-config --cflags --libs libmha libpq)
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <mha4rdb/mha.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARAMS_MAX   16
#define ROUTE_MS     5000
#define REST_MS      100 /* after a failed attempt */
#define LSN_SIZE     32
#define TABLE_LENGTH 48

struct app {
	struct mha *mha;
	const char *table;
	long rows, gap_ms, errors_max;
	bool read_back;
	const char *params[2 * PARAMS_MAX + 1];
	unsigned param_count;

	PGconn *primary; /* NULL: none */
	PGconn *replica;
	char replica_name[MHA_NAME_SIZE];
	long written, errors, errors_in_row, errors_in_row_max, connections;
	long read_replica, read_primary, read_missing;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static void note(struct app *app, const char *what, const char *text)
{
	app->errors++;
	app->errors_in_row++;
	if (app->errors_in_row > app->errors_in_row_max)
		app->errors_in_row_max = app->errors_in_row;
	fprintf(stderr, "mha-app: %s: %s%s", what, text,
		text[0] != '\0' && text[strlen(text) - 1] == '\n' ? "" : "\n");
	poll(NULL, 0, REST_MS);
}

static void drop(PGconn **connection)
{
	PQfinish(*connection);
	*connection = NULL;
}

static bool connect_to(struct app *app, const struct mha_target *target, PGconn **connection)
{
	struct mha_error error;
	char *conninfo;

	if (mha_target_conninfo(target, app->params, &conninfo, &error) < 0) {
		note(app, "conninfo", error.text);
		return false;
	}
	*connection = PQconnectdb(conninfo);
	mha_free(conninfo);
	app->connections++;
	if (PQstatus(*connection) == CONNECTION_OK)
		return true;
	note(app, "connect", PQerrorMessage(*connection));
	drop(connection);
	return false;
}

static bool to_primary(struct app *app)
{
	struct mha_target target = MHA_TARGET_INIT;
	struct mha_error error;

	if (app->primary != NULL)
		return true;
	if (mha_route(app->mha, NULL, &target, ROUTE_MS, &error) < 0) {
		note(app, "route", error.text);
		return false;
	}
	return connect_to(app, &target, &app->primary);
}

/* One row for sure, and where the WAL was behind it. */
static bool write_row(struct app *app, long id, char lsn[LSN_SIZE])
{
	char sql[256];
	PGresult *result;
	bool done;

	if (!to_primary(app))
		return false;
	snprintf(sql, sizeof(sql),
		 "INSERT INTO %s (client, id) VALUES (%ld, %ld) "
		 "ON CONFLICT DO NOTHING",
		 app->table, (long)getpid(), id);
	result = PQexec(app->primary, sql);
	done = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	if (done) {
		result = PQexec(app->primary, "SELECT pg_current_wal_insert_lsn()");
		done = PQresultStatus(result) == PGRES_TUPLES_OK;
		if (done)
			snprintf(lsn, LSN_SIZE, "%s", PQgetvalue(result, 0, 0));
		PQclear(result);
	}
	if (!done) {
		note(app, "write", PQerrorMessage(app->primary));
		drop(&app->primary);
	}
	return done;
}

/* Read it where it is said to be. */
static bool read_row(struct app *app, long id, const char *lsn)
{
	struct mha_want want = MHA_WANT_INIT;
	struct mha_target target = MHA_TARGET_INIT;
	struct mha_error error;
	PGresult *result;
	char sql[256];
	bool done;

	want.role = MHA_REPLICA;
	want.after_lsn = lsn;
	if (mha_route(app->mha, &want, &target, ROUTE_MS, &error) < 0) {
		note(app, "route", error.text);
		return false;
	}
	if (app->replica != NULL && strcmp(app->replica_name, target.name) != 0)
		drop(&app->replica);
	if (app->replica == NULL && !connect_to(app, &target, &app->replica))
		return false;
	snprintf(app->replica_name, sizeof(app->replica_name), "%s", target.name);
	snprintf(sql, sizeof(sql), "SELECT 1 FROM %s WHERE client = %ld AND id = %ld", app->table,
		 (long)getpid(), id);
	result = PQexec(app->replica, sql);
	done = PQresultStatus(result) == PGRES_TUPLES_OK;
	if (!done) {
		note(app, "read", PQerrorMessage(app->replica));
	} else if (PQntuples(result) != 1) {
		app->read_missing++;
		fprintf(stderr, "mha-app: row %ld is not on %s\n", id, target.name);
	}
	if (done && target.role == MHA_REPLICA)
		app->read_replica++;
	else if (done)
		app->read_primary++;
	PQclear(result);
	if (!done)
		drop(&app->replica);
	return done;
}

static int run(struct app *app)
{
	char lsn[LSN_SIZE] = "";
	bool on_record = false;

	while (!ended && (app->rows == 0 || app->written < app->rows) &&
	       app->errors_in_row < app->errors_max) {
		on_record = on_record || write_row(app, app->written + 1, lsn);
		if (!on_record || (app->read_back && !read_row(app, app->written + 1, lsn)))
			continue;
		on_record = false;
		app->written++;
		app->errors_in_row = 0;
		if (app->written == 1 || app->written % 100 == 0) {
			printf("written %ld\n", app->written);
			fflush(stdout);
		}
		poll(NULL, 0, (int)app->gap_ms);
	}
	printf("{\"client\": %ld, \"written\": %ld, \"errors\": %ld, \"errors_in_a_row\": %ld, "
	       "\"connections\": %ld, \"read_replica\": %ld, \"read_primary\": %ld, "
	       "\"read_missing\": %ld}\n",
	       (long)getpid(), app->written, app->errors, app->errors_in_row_max, app->connections,
	       app->read_replica, app->read_primary, app->read_missing);
	return app->errors_in_row >= app->errors_max || app->read_missing > 0;
}

static bool add_param(struct app *app, char *text)
{
	char *value = strchr(text, '=');

	if (value == NULL || app->param_count == PARAMS_MAX)
		return false;
	*value++ = '\0';
	app->params[2 * app->param_count] = text;
	app->params[2 * app->param_count + 1] = value;
	app->param_count++;
	return true;
}

static int usage(void)
{
	fprintf(stderr, "usage: mha-app [-t TABLE] [-n ROWS] [-g GAP_MS] [-m MAX_ERRORS] [-r] "
			"[-p KEYWORD=VALUE]... SEEDS\n");
	return 2;
}

/* The table's name goes into statements. */
static bool is_table(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length <= TABLE_LENGTH &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.") == length;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct app app = {.table = "probe_writes", .gap_ms = 5, .errors_max = 600};
	struct mha_options options = MHA_OPTIONS_INIT;
	struct mha_error error;
	int option, rc;

	while ((option = getopt(argc, argv, "t:n:g:m:rp:")) != -1) {
		if (option == 't' && is_table(optarg))
			app.table = optarg;
		else if (option == 'n')
			app.rows = strtol(optarg, NULL, 10);
		else if (option == 'g')
			app.gap_ms = strtol(optarg, NULL, 10);
		else if (option == 'm')
			app.errors_max = strtol(optarg, NULL, 10);
		else if (option == 'r')
			app.read_back = true;
		else if (option != 'p' || !add_param(&app, optarg))
			return usage();
	}
	if (argc != optind + 1)
		return usage();
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	options.seeds = argv[optind];
	if (mha_open(&app.mha, &options, &error) < 0) {
		fprintf(stderr, "mha-app: %s\n", error.text);
		return 2;
	}
	rc = run(&app);
	drop(&app.primary);
	drop(&app.replica);
	mha_close(app.mha);
	return rc;
}
