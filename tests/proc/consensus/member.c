#include "member.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/control.h"
#include "os/memfd.h"

#define TURN_MS 5
#define STOP_MS 60000

static uint16_t free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, size), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static void make_dir(const char *base, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", base, name);
	cr_assert(mkdir(path, 0755) == 0 || errno == EEXIST, "mkdir %s", path);
}

static void make_bus(const char *run)
{
	static const struct {
		enum worker_id from, to;
	} pairs[] = {
#define ROUTE(name, message, sender, receiver, size) {WORKER_##sender, WORKER_##receiver},
#include "routes.def"
#undef ROUTE
	};

	make_dir(run, "bus");
	for (size_t i = 0; i < COUNT_OF(pairs); i++) {
		char name[100];

		snprintf(name, sizeof(name), "bus/%s", worker_id_name(pairs[i].to));
		make_dir(run, name);
		snprintf(name, sizeof(name), "bus/%s/%s", worker_id_name(pairs[i].to),
			 worker_id_name(pairs[i].from));
		make_dir(run, name);
	}
}

static void on_turn(uv_timer_t *timer)
{
	(void)timer;
}

void rig_open(struct rig *rig, unsigned election_ms)
{
	struct err why = {0};

	memset(rig, 0, sizeof(*rig));
	rig->election_ms = election_ms;
	rig->start_ns = clock_boot_ns();
	cr_assert_eq(uv_loop_init(&rig->loop), 0);
	cr_assert_eq(uv_timer_init(&rig->loop, &rig->turn), 0);
	uv_timer_start(&rig->turn, on_turn, TURN_MS, TURN_MS);
	snprintf(rig->dir, sizeof(rig->dir), "/tmp/mha-consensus-XXXXXX");
	cr_assert_not_null(mkdtemp(rig->dir));
	rig->open = true;
	for (unsigned id = 1; id <= MEMBERS; id++) {
		struct member *member = &rig->members[id];

		member->id = id;
		cr_assert_eq(key_make(&rig->keys[id], &why), 0, "%s", why.text);
		rig->ports[id] = free_port();
		snprintf(member->dir, sizeof(member->dir), "%s/n%u", rig->dir, id);
		snprintf(member->state, sizeof(member->state), "%s/n%u/state", rig->dir, id);
		snprintf(member->run, sizeof(member->run), "%s/n%u/run", rig->dir, id);
		make_dir(member->dir, "");
		make_dir(member->dir, "state");
		make_dir(member->dir, "state/raft");
		make_dir(member->dir, "run");
		make_dir(member->run, "status");
		make_bus(member->run);
	}
}

uint64_t rig_now(struct rig *rig)
{
	rig->now_ms = (clock_boot_ns() - rig->start_ns) / 1000000;
	return rig->now_ms;
}

void rig_turn(struct rig *rig)
{
	uv_run(&rig->loop, UV_RUN_ONCE);
	(void)rig_now(rig);
}

static bool remove_files(struct rig *rig)
{
	char command[128];

	rig->open = false;
	snprintf(command, sizeof(command), "rm -rf --one-file-system %s", rig->dir);
	return system(command) == 0;
}

void rig_clean(struct rig *rig)
{
	if (!rig->open)
		return;
	for (unsigned id = 1; id <= MEMBERS; id++) {
		if (rig->members[id].pid != 0 && kill(rig->members[id].pid, SIGKILL) == 0)
			(void)waitpid(rig->members[id].pid, NULL, 0);
	}
	(void)remove_files(rig);
}

void rig_close(struct rig *rig)
{

	for (unsigned id = 1; id <= MEMBERS; id++) {
		member_kill(rig, id);
		if (rig->members[id].mapped)
			status_close(&rig->members[id].map);
	}
	uv_close((uv_handle_t *)&rig->turn, NULL);
	uv_run(&rig->loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&rig->loop), 0);
	cr_assert(remove_files(rig));
}

static int configuration(const struct rig *rig, const struct member *member)
{
	char text[4096];
	size_t used;
	struct err why = {0};
	int fd;

	used = (size_t)snprintf(
		text, sizeof(text),
		"cluster:\n  name: test\n  id: 3d1f0a52-6a0e-4d5c-8f55-0d2f1f0c9b7e\n"
		"node:\n  name: n%u\n"
		"paths:\n  state_dir: %s\n  run_dir: %s\n"
		"keys:\n  secret_file: /etc/mha4rdb/node.key\n"
		"timing:\n  election_timeout: %ums\n  tick: 10ms\n"
		"postgresql:\n  data_dir: /var/lib/mha-test\n"
		"  replication_password_file: /etc/mha4rdb/replication.password\n"
		"members:\n",
		member->id, member->state, member->run, rig->election_ms);
	for (unsigned id = 1; id <= MEMBERS; id++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "  - name: n%u\n    id: %u\n    address: 127.0.0.%u\n"
					 "    peer_port: %u\n    postgres_port: %u\n"
					 "    public_key: '%s'\n",
					 id, id, id, rig->ports[id], 20000 + id,
					 rig->keys[id].public);
	cr_assert_lt(used, sizeof(text));
	fd = memfd_sealed("conf", text, used, &why);
	cr_assert_geq(fd, 0, "%s", why.text);
	return fd;
}

static _Noreturn void become(const int from[], const int to[], unsigned count)
{
	char program[] = CONSENSUS_PROGRAM;
	char *arguments[] = {program, NULL};

	/* First out of the way of the numbers wanted. */
	int high[8];

	/* However the test ends. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		_exit(123);
	for (unsigned i = 0; i < count; i++)
		high[i] = fcntl(from[i], F_DUPFD, 100);
	for (unsigned i = 0; i < count; i++) {
		if (dup2(high[i], to[i]) < 0)
			_exit(120);
	}
	if (close_range(8, ~0U, 0) < 0)
		_exit(121);
	execv(program, arguments);
	_exit(122);
}

void member_start_with(struct rig *rig, unsigned id, const char *secret)
{
	struct member *member = &rig->members[id];
	static const int numbers[] = {3, 4, 5, 7};
	int pair[2], conf, status, key;
	char path[PATH_SIZE + 40];
	struct err why = {0};

	cr_assert_eq(member->pid, 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	conf = configuration(rig, member);
	snprintf(path, sizeof(path), "%s/status/consensus", member->run);
	status = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	cr_assert_geq(status, 0);
	key = memfd_sealed("key", secret, strlen(secret), &why);
	cr_assert_geq(key, 0, "%s", why.text);

	const int mine[] = {pair[1], conf, status, key};

	member->pid = fork();
	cr_assert_geq(member->pid, 0);
	if (member->pid == 0)
		become(mine, numbers, COUNT_OF(numbers));
	member->control = pair[0];
	close(pair[1]);
	close(conf);
	close(status);
	close(key);
}

void member_start(struct rig *rig, unsigned id)
{
	char text[KEY_FILE_MAX];

	key_format(&rig->keys[id], text);
	member_start_with(rig, id, text);
}

static void gone(struct member *member, int status)
{
	member->exit_status = status;
	member->pid = 0;
	close(member->control);
}

void member_kill(struct rig *rig, unsigned id)
{
	struct member *member = &rig->members[id];
	int status = 0;

	if (member->pid == 0)
		return;
	kill(member->pid, SIGKILL);
	cr_assert_eq(waitpid(member->pid, &status, 0), member->pid);
	gone(member, status);
}

bool member_ended(struct rig *rig, unsigned id)
{
	struct member *member = &rig->members[id];
	int status = 0;

	if (member->pid != 0 && waitpid(member->pid, &status, WNOHANG) == member->pid)
		gone(member, status);
	return member->pid == 0;
}

bool member_stop(struct rig *rig, unsigned id, bool handover)
{
	struct member *member = &rig->members[id];
	uint64_t until;
	struct err why = {0};

	until = rig_now(rig) + STOP_MS;
	cr_assert_eq(control_send(member->control, CONTROL_STOP, handover, -1, &why), 0, "%s",
		     why.text);
	while (!member_ended(rig, id)) {
		cr_assert_lt(rig->now_ms, until, "member %u does not stop", id);
		rig_turn(rig);
	}
	return WIFEXITED(member->exit_status) && WEXITSTATUS(member->exit_status) == 0;
}

bool member_look(struct rig *rig, unsigned id)
{
	struct member *member = &rig->members[id];
	struct err why = {0};

	if (!member->mapped) {
		if (status_open_read(&member->map, STATUS_CONSENSUS, member->run, &why) < 0)
			return false;
		member->mapped = true;
	}
	return status_read(&member->map, &member->seen, &why) == 0;
}
