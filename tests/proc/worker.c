/*
 * A worker that does no work: the real skeleton (worker_main) under any worker's name, so that the
 * master can be tested without the real workers. It is started through links called mha-<name>; a
 * file mha-<name>.mode beside the link says how it misbehaves:
 *
 *   fail-start     start() fails
 *   ignore-stop    a stop is never finished
 *   slow-stop      a stop takes 300 ms
 *   spin           after READY it never waits for anything again
 *   forbidden      after READY it tries to execute a program
 *   lease          only consensus: its section says that it holds a lease for 8 s
 *   detach         once, start a process in a session of its own that outlives everything
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"
#include "worker/worker.h"

#define SLOW_STOP_MS 300
#define LEASE_NS     UINT64_C(8000000000)

struct idle {
	uv_timer_t timer;
	uint64_t generation;
	bool slow;
};

/* main's own: read while the program may still read where it lies. */
static char mode[32];

static void read_mode(const char *program)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s.mode", program);
	file = fopen(path, "r");
	if (file == NULL)
		return;
	if (fscanf(file, "%31s", mode) != 1)
		mode[0] = '\0';
	fclose(file);
}

/* Stands for the database's server: its own session, no descriptor of ours. */
static void detach(void)
{
	const pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid > 0) {
		log_event(LOG_NOTICE, "test.detached", "pid=%d", pid);
		return;
	}
	setsid();
	if (close_range(3, ~0U, 0) < 0)
		_exit(1);
	execl("/bin/sleep", "sleep", "120", NULL);
	_exit(1);
}

/* Only consensus keeps something in its section: how often it was started. */
static int count_generation(struct worker *worker, struct idle *idle, struct err *why)
{
	struct status_consensus *section;
	int rc;

	if (worker->id != WORKER_consensus)
		return 0;
	section = calloc(1, sizeof(*section));
	if (section == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	rc = status_read(&worker->status, section, why);
	if (rc == 0 || rc == ERR_NOT_FOUND) {
		idle->generation = ++section->elections;
		section->lease_until_ns =
			strcmp(mode, "lease") == 0 ? clock_boot_ns() + LEASE_NS : 0;
		status_publish(&worker->status, section);
		rc = 0;
	}
	free(section);
	return rc;
}

static void report(const struct worker *worker, const struct idle *idle)
{
	struct stat stat;
	char secret[256] = "";
	struct err why;
	int rc = worker_secret(worker, secret, sizeof(secret), &why);

	log_event(LOG_NOTICE, "test.start",
		  "name=%s generation=%llu secret=%s packet=%d environment=%s", worker->name,
		  (unsigned long long)idle->generation, rc == 0 ? secret : err_name(rc),
		  fstat(WORKER_FD_PACKET, &stat) == 0 && S_ISSOCK(stat.st_mode),
		  getenv("MHA_TEST_LEAK") == NULL ? "clean" : "leaked");
	explicit_bzero(secret, sizeof(secret));
}

static void on_timer(uv_timer_t *timer)
{
	worker_stopped(timer->data);
}

static void on_spin(uv_timer_t *timer)
{
	const struct worker *worker = timer->data;

	log_event(LOG_NOTICE, "test.spin", "name=%s", worker->name);
	for (volatile uint64_t turn = 0;; turn = turn + 1)
		continue;
}

/* As one does who has found a hole in the program. */
static void on_forbidden(uv_timer_t *timer)
{
	const struct worker *worker = timer->data;

	log_event(LOG_NOTICE, "test.forbidden", "name=%s", worker->name);
	execl("/bin/true", "true", NULL);
}

static int idle_start(struct worker *worker, struct err *why)
{
	struct idle *idle = calloc(1, sizeof(*idle));
	int rc;

	if (idle == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	worker->self = idle;
	CHECK(uv_timer_init(worker->loop, &idle->timer) == 0);
	idle->timer.data = worker;
	rc = count_generation(worker, idle, why);
	if (rc < 0)
		return rc;
	report(worker, idle);
	if (strcmp(mode, "fail-start") == 0)
		return err_set(why, ERR_REFUSED, "told to fail");
	if (strcmp(mode, "detach") == 0)
		detach();
	if (strcmp(mode, "forbidden") == 0)
		CHECK(uv_timer_start(&idle->timer, on_forbidden, 1, 0) == 0);
	if (strcmp(mode, "spin") == 0)
		CHECK(uv_timer_start(&idle->timer, on_spin, 1, 0) == 0);
	return 0;
}

static void idle_reload(struct worker *worker)
{
	log_event(LOG_NOTICE, "test.reload", "name=%s interval=%llu", worker->name,
		  (unsigned long long)worker->conf.monitor_interval_ms);
}

static void idle_stop(struct worker *worker, bool handover)
{
	struct idle *idle = worker->self;

	log_event(LOG_NOTICE, "test.stop", "name=%s handover=%d", worker->name, handover);
	if (strcmp(mode, "ignore-stop") == 0)
		uv_sleep(60000);
	else if (strcmp(mode, "slow-stop") == 0)
		CHECK(uv_timer_start(&idle->timer, on_timer, SLOW_STOP_MS, 0) == 0);
	else
		worker_stopped(worker);
}

static void idle_finish(struct worker *worker)
{
	log_event(LOG_NOTICE, "test.finish", "name=%s", worker->name);
	free(worker->self);
	worker->self = NULL;
}

int main(int argc, char **argv)
{
	static const struct worker_ops OPS = {.start = idle_start,
					      .reload = idle_reload,
					      .stop = idle_stop,
					      .finish = idle_finish};
	const char *name = strrchr(argv[0], '/');

	CHECK(argc == 1 && name != NULL && strncmp(name, "/mha-", 5) == 0);
	read_mode(argv[0]);
	for (unsigned id = 0; id < WORKER_COUNT; id++) {
		if (strcmp(worker_id_name((enum worker_id)id), name + 5) == 0)
			return worker_main((enum worker_id)id, &OPS);
	}
	fprintf(stderr, "%s: no worker has this name\n", argv[0]);
	return 2;
}
