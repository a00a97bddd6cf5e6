#include "os/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"

/* Later versions of the interface than the C library's headers may know. */
#define RIGHT_TRUNCATE  (UINT64_C(1) << 14) /* 3 */
#define RIGHT_IOCTL_DEV (UINT64_C(1) << 15) /* 5 */
#define NET_BIND        UINT64_C(1)         /* 4 */
#define NET_CONNECT     UINT64_C(2)
#define RULE_NET        2
#define SCOPE_ABSTRACT  UINT64_C(1) /* 6 */
#define SCOPE_SIGNAL    UINT64_C(2)

struct ruleset_attributes {
	uint64_t handled_files;
	uint64_t handled_network;
	uint64_t scoped;
};

struct port_attributes {
	uint64_t allowed;
	uint64_t port;
};

#define RIGHTS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_WRITE                                                                               \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |                            \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_FIFO |                              \
	 LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER | RIGHT_TRUNCATE)
#define RIGHTS_SOCKETS (LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE)
#define RIGHTS_OF_FILES                                                                            \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |                              \
	 LANDLOCK_ACCESS_FS_READ_FILE | RIGHT_TRUNCATE | RIGHT_IOCTL_DEV)

int landlock_version(void)
{
	const long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0,
				     LANDLOCK_CREATE_RULESET_VERSION);

	return version < 0 ? 0 : (int)version;
}

/* Every right that this kernel can refuse. */
static uint64_t rights_known(int version)
{
	uint64_t rights = (UINT64_C(1) << 13) - 1;

	if (version >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		rights |= RIGHT_TRUNCATE;
	if (version >= 5)
		rights |= RIGHT_IOCTL_DEV;
	return rights;
}

static uint64_t rights_of(unsigned access)
{
	uint64_t rights = 0;

	if ((access & LANDLOCK_READ) != 0)
		rights |= RIGHTS_READ;
	if ((access & LANDLOCK_WRITE) != 0)
		rights |= RIGHTS_WRITE;
	if ((access & LANDLOCK_SOCKETS) != 0)
		rights |= RIGHTS_SOCKETS;
	if ((access & LANDLOCK_EXECUTE) != 0)
		rights |= LANDLOCK_ACCESS_FS_EXECUTE;
	if ((access & LANDLOCK_DEVICES) != 0)
		rights |= RIGHT_IOCTL_DEV;
	return rights;
}

static int add_path(int ruleset, const struct landlock_path *path, uint64_t known, struct err *why)
{
	struct landlock_path_beneath_attr rule = {.allowed_access =
							  rights_of(path->access) & known};
	struct stat stat;
	int rc = 0;

	rule.parent_fd = open(path->path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES
			       ? 0
			       : err_set_errno(why, ERR_IO, errno, "Landlock: %s", path->path);
	if (fstat(rule.parent_fd, &stat) == 0 && !S_ISDIR(stat.st_mode))
		rule.allowed_access &= RIGHTS_OF_FILES;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		rc = err_set_errno(why, ERR_IO, errno, "Landlock: %s", path->path);
	close(rule.parent_fd);
	return rc;
}

static int add_ports(int ruleset, const uint16_t *ports, unsigned count, uint64_t right,
		     struct err *why)
{
	CHECK(count <= LANDLOCK_PORTS_MAX);
	for (unsigned i = 0; i < count; i++) {
		const struct port_attributes rule = {.allowed = right, .port = ports[i]};

		if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET, &rule, 0) < 0)
			return err_set_errno(why, ERR_IO, errno, "Landlock: port %u", ports[i]);
	}
	return 0;
}

static int fill(int ruleset, const struct landlock_rules *rules,
		const struct ruleset_attributes *attributes, struct err *why)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < rules->path_count; i++)
		rc = add_path(ruleset, &rules->paths[i], attributes->handled_files, why);
	if (rc < 0 || attributes->handled_network == 0)
		return rc;
	rc = add_ports(ruleset, rules->listen, rules->listen_count, NET_BIND, why);
	if (rc == 0)
		rc = add_ports(ruleset, rules->connect, rules->connect_count, NET_CONNECT, why);
	return rc;
}

int landlock_make(const struct landlock_rules *rules, struct err *why)
{
	const int version = landlock_version();
	struct ruleset_attributes attributes = {.handled_files = rights_known(version)};
	size_t size = sizeof(attributes.handled_files);
	int ruleset, rc;

	if (version < 1)
		return err_set(why, ERR_NOT_FOUND, "this kernel has no Landlock");
	if (version >= 4) {
		size = 2 * sizeof(uint64_t);
		if (rules->network)
			attributes.handled_network = NET_BIND | NET_CONNECT;
	}
	if (version >= 6) {
		size = sizeof(attributes);
		if (rules->alone)
			attributes.scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
	if (ruleset < 0)
		return err_set_errno(why, ERR_IO, errno, "Landlock");
	rc = fill(ruleset, rules, &attributes, why);
	if (rc < 0) {
		close(ruleset);
		return rc;
	}
	return ruleset;
}

int landlock_enter(int ruleset, struct err *why)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set_errno(why, ERR_IO, errno, "no new privileges");
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return err_set_errno(why, ERR_IO, errno, "Landlock");
	return 0;
}

struct spawning {
	int ruleset;
	pid_t *pid;
	const char *path;
	const posix_spawn_file_actions_t *actions;
	const posix_spawnattr_t *attributes;
	char *const *argv;
	char *const *envp;
	int result;
};

/* The kernel binds the thread that asks, and what that thread starts. */
static void *spawn_bound(void *arg)
{
	struct spawning *spawning = arg;

	spawning->result = landlock_enter(spawning->ruleset, NULL) < 0 ? EPERM : 0;
	if (spawning->result == 0)
		spawning->result =
			posix_spawn(spawning->pid, spawning->path, spawning->actions,
				    spawning->attributes, spawning->argv, spawning->envp);
	return NULL;
}

int landlock_spawn(int ruleset, pid_t *pid, const char *path,
		   const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
		   char *const argv[], char *const envp[])
{
	struct spawning spawning = {.ruleset = ruleset,
				    .pid = pid,
				    .path = path,
				    .actions = actions,
				    .attributes = attributes,
				    .argv = argv,
				    .envp = envp};
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, spawn_bound, &spawning);

	if (rc != 0)
		return rc;
	rc = pthread_join(thread, NULL);
	return rc != 0 ? rc : spawning.result;
}
