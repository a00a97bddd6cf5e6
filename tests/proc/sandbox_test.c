/*
 * What a worker that somebody has taken over can still do: inside each sandbox of workers.def, as
 * its user, the forbidden things are tried one by one. Each must be refused, by an error or by the
 * end of the process. What dbctl starts is tried in its place: it is not bound itself. Needs root;
 * prints a table and exits with 1 when one thing was possible.
 *
 *   test_proc_sandbox MHA4RDB_CONF DIRECTORY
 *
 * The configuration's directories are made; DIRECTORY is one that the database has no business in.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/pg_bound.h"
#include "os/caps.h"
#include "os/control.h"
#include "os/landlock.h"
#include "os/sandbox.h"
#include "os/sanitizer.h"
#include "os/seccomp.h"
#include "worker/confine.h"

#define CAPS_NONE      UINT64_C(0)
#define CAPS_NET_ADMIN CAP_BIT(CAP_NET_ADMIN)

/* How an attempt ends. */
enum { POSSIBLE = 0, REFUSED = 1, BROKEN = 2 };
#define KILLED (128 + SIGSYS)

static const struct role {
	enum worker_id id;
	const char *name;
	const char *user;
	uint64_t caps;
	unsigned calls;
} ROLES[WORKER_COUNT] = {
#define WORKER(name_, user_, caps_, realtime_, nodes_, calls_, ...)                                \
	[WORKER_##name_] = {WORKER_##name_, #name_, (user_), (caps_), (calls_)},
#include "workers.def"
#undef WORKER
};

/* main's own: where things are, and a process to be attacked. */
static struct conf conf;
static char raft_key[300], foreign_bus[300], pgdata[300], status_of_vip[300], outside[300];
static pid_t victim;
static uint16_t listening;

static int refused(bool done)
{
	return done ? POSSIBLE : REFUSED;
}

static int try_open(const char *path, int flags)
{
	return refused(open(path, flags | O_CLOEXEC, 0600) >= 0);
}

static int try_shadow(void)
{
	return try_open("/etc/shadow", O_RDONLY);
}

/* Readable by everybody as far as its mode goes: only the sandbox is in the way. */
static int try_readable(void)
{
	return try_open(outside, O_RDONLY);
}

static int try_raft(void)
{
	return try_open(raft_key, O_RDONLY);
}

static int try_pgdata(void)
{
	return try_open(pgdata, O_RDONLY);
}

static int try_write(void)
{
	return try_open("/tmp/mha-sandbox-written", O_WRONLY | O_CREAT);
}

static int try_section(void)
{
	return try_open(status_of_vip, O_RDWR);
}

static int try_foreign_bus(void)
{
	return refused(unlink(foreign_bus) == 0);
}

static int try_exec(void)
{
	execl("/bin/true", "true", NULL);
	return REFUSED;
}

static int try_fork(void)
{
	return refused(fork() >= 0);
}

static int try_connect(void)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons(listening),
					    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	return refused(fd >= 0 &&
		       connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
}

static int try_udp(void)
{
	return refused(socket(AF_INET, SOCK_DGRAM, 0) >= 0);
}

static int try_raw(void)
{
	return refused(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0);
}

static int try_packet(void)
{
	return refused(socket(AF_PACKET, SOCK_RAW, 0) >= 0);
}

static int try_vsock(void)
{
	return refused(socket(AF_VSOCK, SOCK_STREAM, 0) >= 0);
}

/* Up and down go by ioctl, addresses by netlink: both are a matter of CAP_NET_ADMIN. */
static int try_address(void)
{
	struct ifreq request = {.ifr_flags = IFF_UP};
	const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(request.ifr_name, "lo", 3);
	return refused(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0);
}

static int try_ptrace(void)
{
	return refused(ptrace(PTRACE_ATTACH, victim, NULL, NULL) == 0);
}

static int try_memory_of(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)victim);
	return try_open(path, O_RDONLY);
}

static int try_signal(void)
{
	return refused(kill(victim, SIGTERM) == 0);
}

static int try_signal_by_pidfd(void)
{
	const int fd = (int)syscall(SYS_pidfd_open, victim, 0);

	return refused(fd >= 0 && syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) == 0);
}

static int try_mount(void)
{
	return refused(mount("none", "/mnt", "tmpfs", 0, NULL) == 0);
}

static int try_namespace(void)
{
	return refused(unshare(CLONE_NEWUSER) == 0);
}

static int try_bpf(void)
{
	char attributes[128] = {0};

	return refused(syscall(SYS_bpf, 0, attributes, sizeof(attributes)) >= 0);
}

static int try_io_uring(void)
{
	char parameters[256] = {0};

	return refused(syscall(SYS_io_uring_setup, 4, parameters) >= 0);
}

static int try_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return BROKEN;
	return refused(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
}

static int try_map_code(void)
{
	return refused(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

static int try_root(void)
{
	return refused(setuid(0) == 0);
}

static int try_dumpable(void)
{
	return refused(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
}

static int try_handler(void)
{
	return refused(signal(SIGSYS, SIG_IGN) != SIG_ERR);
}

/* getpid() by the 32-bit door: another numbering, which the filter must not misread. */
static int try_other_architecture(void)
{
#if defined(__x86_64__)
	long got = 20;

	__asm__ volatile("int $0x80" : "+a"(got) : : "memory", "r8", "r9", "r10", "r11");
	return refused(got > 0);
#else
	return REFUSED;
#endif
}

enum { ANY = 0, NOT_FILES = 1, NOT_SANITIZED = 2, TCP_ONLY = 4, PATHS = 8 };

static const struct attempt {
	const char *what;
	int (*attempt)(void);
	unsigned flags;
} ATTEMPTS[] = {
	{"open /etc/shadow", try_shadow, ANY},
	{"open a file that all may read", try_readable, PATHS},
	{"open what is consensus' own", try_raft, ANY},
	{"open the database's files", try_pgdata, ANY},
	{"write a file in /tmp", try_write, PATHS},
	{"write another worker's section", try_section, ANY},
	{"remove another worker's socket", try_foreign_bus, ANY},
	{"execute a program", try_exec, ANY},
	{"fork", try_fork, NOT_SANITIZED},
	{"connect out by TCP", try_connect, TCP_ONLY},
	{"open a UDP socket", try_udp, ANY},
	{"open a raw socket", try_raw, ANY},
	{"open a packet socket", try_packet, ANY},
	{"open a socket of another family", try_vsock, ANY},
	{"change an interface", try_address, ANY},
	{"ptrace another process", try_ptrace, ANY},
	{"read the memory of another process", try_memory_of, ANY},
	{"signal another process", try_signal, ANY},
	{"signal it by a pidfd", try_signal_by_pidfd, ANY},
	{"mount", try_mount, ANY},
	{"make a user namespace", try_namespace, ANY},
	{"load BPF", try_bpf, ANY},
	{"use io_uring", try_io_uring, ANY},
	{"make memory executable", try_code, ANY},
	{"map executable memory", try_map_code, ANY},
	{"become root", try_root, ANY},
	{"become dumpable", try_dumpable, NOT_SANITIZED},
	{"ignore SIGSYS", try_handler, ANY},
	{"call the kernel as another architecture", try_other_architecture, ANY},
};

/* What the C library does now and then for an honest worker; nobody may end by it. */

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, 8);
}

/* As libraft sorts the segments of a log that has grown: the C library asks for the memory. */
static int need_sort(void)
{
	enum { ROWS = 4096, ROW = 200 };
	char *rows = calloc(ROWS, ROW);

	if (rows == NULL)
		return BROKEN;
	for (size_t i = 0; i < ROWS; i++)
		rows[i * ROW] = (char)(i * 37);
	qsort(rows, ROWS, ROW, compare);
	free(rows);
	return 0;
}

static void *take_memory(void *arg)
{
	char *block = malloc(4096);

	if (block != NULL)
		memset(block, 1, 4096);
	free(block);
	return block == NULL ? NULL : arg;
}

/* Each thread has a heap of its own as long as the C library makes new ones. */
static int need_threads(void)
{
	enum { THREADS = 48 };
	pthread_t threads[THREADS];
	void *fine;

	for (unsigned i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, take_memory, threads) != 0)
			return BROKEN;
	for (unsigned i = 0; i < THREADS; i++)
		if (pthread_join(threads[i], &fine) != 0 || fine == NULL)
			return BROKEN;
	return 0;
}

static const struct attempt NEEDS[] = {
	{"sort a long table", need_sort, ANY},
	{"allocate in many threads", need_threads, ANY},
};

static void become(const struct role *role)
{
	const struct passwd *user = getpwnam(role->user != NULL ? role->user : conf.pg_os_user);
	struct err why;

	if (user == NULL || setgroups(0, NULL) < 0 ||
	    setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
	    caps_bound(role->caps, &why) < 0 ||
	    prctl(PR_SET_KEEPCAPS, role->caps != 0, 0, 0, 0) < 0 ||
	    setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0 ||
	    caps_keep(role->caps, true, &why) < 0)
		_exit(BROKEN);
}

/* As this role; the exit status of the attempt. `call`: the system call that was told of. */
static int attempt(const struct role *role, const struct attempt *what, uint32_t *call)
{
	struct control_message message;
	int control[2], status, fd;
	struct err why;
	pid_t pid;

	*call = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
		return BROKEN;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		become(role);
		if (worker_confine(role->id, &conf, control[1], &why) < 0) {
			fprintf(stderr, "%s: %s\n", role->name, why.text);
			_exit(BROKEN);
		}
		_exit(what->attempt());
	}
	close(control[1]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return BROKEN;
	if (control_receive(control[0], &message, &fd, NULL) == 0 &&
	    message.kind == CONTROL_REFUSED)
		*call = message.flag;
	close(control[0]);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool is_expected(const struct role *role, const struct attempt *what)
{
	if (role->id == WORKER_consensus && what->attempt == try_raft)
		return false;
	if ((what->flags & NOT_SANITIZED) != 0 && OS_SANITIZED)
		return false;
	if ((what->flags & PATHS) != 0 && landlock_version() < 1)
		return false;
	/* Consensus and gateway have TCP; their ports are Landlock's. */
	return (what->flags & TCP_ONLY) == 0 || (role->calls & CALLS_TCP) == 0 ||
	       landlock_version() >= 4;
}

static unsigned attempt_all(const struct role *role)
{
	unsigned possible = 0, tried = 0;

	for (size_t i = 0; i < COUNT_OF(ATTEMPTS); i++) {
		char name[64];
		uint32_t call;
		int end;

		if (!is_expected(role, &ATTEMPTS[i]))
			continue;
		end = attempt(role, &ATTEMPTS[i], &call);
		tried++;
		if (end == KILLED)
			printf("%-10s %-40s killed (%s)\n", role->name, ATTEMPTS[i].what,
			       call != 0 ? seccomp_call_name((int)call, name) : "kernel");
		else
			printf("%-10s %-40s %s\n", role->name, ATTEMPTS[i].what,
			       end == REFUSED ? "refused" : "POSSIBLE");
		possible += end != KILLED && end != REFUSED;
	}
	for (size_t i = 0; i < COUNT_OF(NEEDS); i++) {
		char name[64];
		uint32_t call;
		const int end = attempt(role, &NEEDS[i], &call);

		printf("%-10s %-40s %s%s\n", role->name, NEEDS[i].what,
		       end == 0 ? "possible, as it must be" : "FAILED",
		       call != 0 ? seccomp_call_name((int)call, name) : "");
		possible += end != 0;
	}
	printf("%-10s %u tried, %u possible\n", role->name, tried, possible);
	return possible;
}

/* What a program of the database tries, in a shell; only the sandbox is in the way of these. */
static const struct bound_attempt {
	const char *what;
	const char *command;
	bool possible;
} BOUND_ATTEMPTS[] = {
	{"write into the data directory", "echo x >\"$DATA/written\"", true},
	{"make a directory beside it, and move a file there",
	 "mkdir -p \"$DATA.clone\" && mv \"$DATA/written\" \"$DATA.clone/\"", true},
	{"write into its tablespace", "echo x >\"$SPACE/written\"", true},
	{"write into sandbox.write_paths", "echo x >\"$ARCHIVE/written\"", true},
	{"write to /tmp and /dev/shm", "echo x >\"/dev/shm/$$\" && rm \"/dev/shm/$$\"", true},
	{"run a program of the system", "ls / >/dev/null", true},
	{"write into another directory of its own", "echo x >\"$OTHER/written\"", false},
	{"remove a file of its own there", "rm \"$OTHER/present\"", false},
	{"run a program that it has written", "cp /bin/true \"$DATA/program\" && \"$DATA/program\"",
	 false},
	{"run one from /tmp", "cp /bin/true \"/tmp/$$\" && \"/tmp/$$\"", false},
};

static int run_bound(const char *command)
{
	char shell[] = "sh", option[] = "-c";
	char *const arguments[] = {shell, option, strdup(command), NULL};
	struct err why;
	int ruleset, status;
	pid_t pid;

	if (pg_bound_make(&conf, &ruleset, &why) < 0 || ruleset < 0 ||
	    landlock_spawn(ruleset, &pid, "/bin/sh", NULL, NULL, arguments, environ) != 0 ||
	    waitpid(pid, &status, 0) != pid)
		_exit(BROKEN);
	_exit(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? POSSIBLE : REFUSED);
}

static unsigned attempt_bound(const struct role *role)
{
	unsigned wrong = 0;

	if (landlock_version() < 2) {
		puts("dbctl      no Landlock: what it starts is not bound");
		return 0;
	}
	for (size_t i = 0; i < COUNT_OF(BOUND_ATTEMPTS); i++) {
		const struct bound_attempt *what = &BOUND_ATTEMPTS[i];
		int status = 0;
		pid_t pid;
		bool right;

		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			become(role);
			run_bound(what->command);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return 1;
		right = WIFEXITED(status) &&
			WEXITSTATUS(status) == (what->possible ? POSSIBLE : REFUSED);
		printf("%-10s %-52s %s\n", "database", what->what,
		       !right ? "WRONG" : (what->possible ? "possible" : "refused"));
		wrong += !right;
	}
	return wrong;
}

static void make_file(char *path, size_t size, const char *dir, const char *name, mode_t mode,
		      const char *owner)
{
	const struct passwd *user = getpwnam(owner);
	int fd;

	snprintf(path, size, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || user == NULL || fchown(fd, user->pw_uid, user->pw_gid) < 0 ||
	    fchmod(fd, mode) < 0) {
		perror(path);
		exit(2);
	}
	close(fd);
}

static void make_directory(const char *path)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		perror(path);
		exit(2);
	}
}

/* A stage like a running agent's: modes open wherever the sandbox alone must be in the way. */
static void make_stage(void)
{
	char path[300];

	make_directory(conf.state_dir);
	make_directory(conf.run_dir);
	make_directory(conf.pg_data_dir);
	snprintf(path, sizeof(path), "%s/raft", conf.state_dir);
	make_directory(path);
	make_file(raft_key, sizeof(raft_key), path, "metadata1", 0644, "mha-consensus");
	make_file(pgdata, sizeof(pgdata), conf.pg_data_dir, "PG_VERSION", 0644, conf.pg_os_user);
	make_file(outside, sizeof(outside), conf.pg_data_dir, "world", 0666, conf.pg_os_user);
	snprintf(path, sizeof(path), "%s/status", conf.run_dir);
	make_directory(path);
	make_file(status_of_vip, sizeof(status_of_vip), path, "vip", 0666, "root");
	snprintf(path, sizeof(path), "%s/bus", conf.run_dir);
	make_directory(path);
	snprintf(path, sizeof(path), "%s/bus/other", conf.run_dir);
	make_directory(path);
	if (chmod(path, 0777) < 0)
		exit(2);
	make_file(foreign_bus, sizeof(foreign_bus), path, "socket", 0666, "root");
}

/* Directories of the database's user around its data, told to the shell by name. */
static void make_places(const char *other)
{
	static const char *const NAMES[] = {"DATA", "SPACE", "ARCHIVE"};
	const struct passwd *user = getpwnam(conf.pg_os_user);
	char base[300], path[400], link[420];

	snprintf(base, sizeof(base), "%s", conf.pg_data_dir);
	*strrchr(base, '/') = '\0';
	*strrchr(base, '/') = '\0';
	for (size_t i = 0; i < COUNT_OF(NAMES); i++) {
		snprintf(path, sizeof(path), "%s/%s", base, NAMES[i]);
		if (i == 0)
			snprintf(path, sizeof(path), "%s", conf.pg_data_dir);
		make_directory(path);
		if (user == NULL || chown(path, user->pw_uid, user->pw_gid) < 0 ||
		    setenv(NAMES[i], path, 1) < 0)
			exit(2);
	}
	snprintf(path, sizeof(path), "%s/..", conf.pg_data_dir);
	if (chown(path, user->pw_uid, user->pw_gid) < 0)
		exit(2);
	snprintf(path, sizeof(path), "%s/pg_tblspc", conf.pg_data_dir);
	make_directory(path);
	snprintf(link, sizeof(link), "%s/16384", path);
	snprintf(path, sizeof(path), "%s/SPACE", base);
	if (symlink(path, link) < 0 && errno != EEXIST)
		exit(2);
	if (setenv("OTHER", other, 1) < 0 || chown(other, user->pw_uid, user->pw_gid) < 0)
		exit(2);
	make_file(link, sizeof(link), other, "present", 0644, conf.pg_os_user);
}

static int listen_here(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(address);
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return -1;
	listening = ntohs(address.sin_port);
	return fd;
}

/* Of the attacker's own user, so that only the sandbox protects it. */
static void start_victim(const struct role *role)
{
	victim = fork();
	if (victim == 0) {
		become(role);
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		for (;;)
			pause();
	}
}

int main(int argc, char **argv)
{
	unsigned possible = 0;
	struct err why;

	if (geteuid() != 0) {
		puts("SKIPPED: only root can become the workers' users");
		return 77;
	}
	if (argc != 3 || conf_read(&conf, argv[1], &why) < 0) {
		fprintf(stderr,
			"a configuration file and a directory outside of /tmp are wanted\n");
		return 2;
	}
	log_open("test", "sandbox", LOG_WARNING);
	make_stage();
	make_places(argv[2]);
	if (listen_here() < 0)
		return 2;
	printf("Landlock version %d\n", landlock_version());
	for (unsigned id = 0; id < WORKER_COUNT; id++) {
		start_victim(&ROLES[id]);
		possible += ROLES[id].calls == CALLS_NONE ? attempt_bound(&ROLES[id])
							  : attempt_all(&ROLES[id]);
		(void)kill(victim, SIGKILL);
		(void)waitpid(victim, NULL, 0);
	}
	return possible == 0 ? 0 : 1;
}
