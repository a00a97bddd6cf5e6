/*
 * The probe of the laboratory: writers that record, in nanoseconds of CLOCK_MONOTONIC, when each
 * write was sent and when its acknowledgement arrived.
 *
 *   lab-probe PLAN DIRECTORY
 *
 * PLAN has a line per client, fields separated by tabs:
 *   name  table  netns file  pace ms  retry ms  refresh ms  attempts  stay|leave  conninfo
 * With the table "-" the client reads what only a primary tells, instead of writing.
 * DIRECTORY/<name>.log gets a line per write:
 *   A|D  id  sent ns  answered ns  timeline        A: acknowledged, D: doubtful
 * Standard output gets a line of JSON every 100 ms. The probe ends when its standard input does.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define CLIENTS_MAX 32
#define PLAN_FIELDS 9

struct probe {
	unsigned count;
	atomic_bool stop;
	struct client clients[CLIENTS_MAX];
	pthread_t threads[CLIENTS_MAX];
};

_Noreturn static void die(const char *what, const char *why)
{
	fprintf(stderr, "lab-probe: %s: %s\n", what, why);
	exit(1);
}

static void copy_field(char *to, size_t size, const char *field)
{
	if ((size_t)snprintf(to, size, "%s", field) >= size)
		die("plan: field too long", field);
}

static int64_t milliseconds(const char *field)
{
	char *end;
	double value = strtod(field, &end);

	if (*end != '\0' || end == field || value < 0 || value > 3600000)
		die("plan: not a number of milliseconds", field);
	return (int64_t)(value * (double)NS_PER_MS);
}

static void parse_client(struct client_plan *plan, char *line)
{
	char *fields[PLAN_FIELDS];
	char *next = line;

	line[strcspn(line, "\n")] = '\0';
	for (unsigned i = 0; i < PLAN_FIELDS; i++) {
		fields[i] = strsep(&next, "\t");
		if (fields[i] == NULL)
			die("plan: too few fields", line);
	}
	copy_field(plan->name, sizeof plan->name, fields[0]);
	copy_field(plan->table, sizeof plan->table, fields[1]);
	copy_field(plan->netns, sizeof plan->netns, fields[2]);
	plan->pace_ns = milliseconds(fields[3]);
	plan->retry_ns = milliseconds(fields[4]);
	plan->refresh_ns = milliseconds(fields[5]);
	plan->attempts = (unsigned)strtoul(fields[6], NULL, 10);
	if (plan->attempts < 1 || plan->attempts > 6)
		die("plan: attempts must be 1 to 6", fields[6]);
	plan->stay = strcmp(fields[7], "stay") == 0;
	copy_field(plan->conninfo, sizeof plan->conninfo, fields[8]);
}

static void read_plan(struct probe *probe, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[2048];

	if (file == NULL)
		die(path, strerror(errno));
	while (fgets(line, sizeof line, file) != NULL) {
		if (probe->count == CLIENTS_MAX)
			die(path, "too many clients");
		parse_client(&probe->clients[probe->count].plan, line);
		probe->clients[probe->count].plan.number = probe->count;
		probe->count++;
	}
	fclose(file);
	if (probe->count == 0)
		die(path, "no clients");
}

static void start_client(struct probe *probe, unsigned i, const char *directory)
{
	struct client *client = &probe->clients[i];
	struct timespec now;
	char path[512];
	int failed;

	if (snprintf(path, sizeof path, "%s/%s.log", directory, client->plan.name) >=
	    (int)sizeof path)
		die(directory, "path too long");
	client->log = fopen(path, "w");
	if (client->log == NULL)
		die(path, strerror(errno));
	/* Ids of later runs, also after a reboot of this machine, are higher. */
	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		die("clock_gettime", strerror(errno));
	client->next_id = (uint64_t)now.tv_sec << 20;
	client->stop = &probe->stop;
	failed = pthread_create(&probe->threads[i], NULL, client_run, client);
	if (failed != 0)
		die("pthread_create", strerror(failed));
}

static void report(struct probe *probe)
{
	printf("{\"now\":%lld,\"clients\":{", (long long)now_ns());
	for (unsigned i = 0; i < probe->count; i++) {
		struct client *client = &probe->clients[i];

		printf("%s\"%s\":{\"acknowledged\":%llu,\"doubtful\":%llu,\"refused\":%llu,"
		       "\"last\":%lld}",
		       i > 0 ? "," : "", client->plan.name, atomic_load(&client->acknowledged),
		       atomic_load(&client->doubtful), atomic_load(&client->refused),
		       atomic_load(&client->last_ack));
	}
	puts("}}");
	if (fflush(stdout) != 0)
		atomic_store(&probe->stop, true);
}

/* Report until the caller closes our standard input (or is gone). */
static void watch(struct probe *probe)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	while (!atomic_load(&probe->stop)) {
		char dropped[64];
		int ready = poll(&input, 1, 100);

		if (ready < 0 && errno != EINTR)
			die("poll", strerror(errno));
		if (ready > 0 && read(STDIN_FILENO, dropped, sizeof dropped) <= 0)
			atomic_store(&probe->stop, true);
		report(probe);
	}
}

int main(int argc, char **argv)
{
	struct probe *probe;

	if (argc != 3) {
		fputs("usage: lab-probe PLAN DIRECTORY\n", stderr);
		return 2;
	}
	probe = calloc(1, sizeof *probe);
	if (probe == NULL)
		die("calloc", strerror(errno));
	read_plan(probe, argv[1]);
	for (unsigned i = 0; i < probe->count; i++)
		start_client(probe, i, argv[2]);
	watch(probe);
	for (unsigned i = 0; i < probe->count; i++) {
		pthread_join(probe->threads[i], NULL);
		if (fclose(probe->clients[i].log) != 0)
			die(probe->clients[i].plan.name, "the log could not be written");
	}
	free(probe);
	return 0;
}
