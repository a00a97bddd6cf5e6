/* mhad: the master of one agent. Reads the configuration, prepares what needs root, supervises. */
#include <errno.h>
#include <getopt.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "master.h"
#include "os/caps.h"
#include "os/clock.h"
#include "os/sanitizer.h"
#include "os/seccomp.h"
#include "secrets.h"

/* What starting, ending and arming workers takes, for as long as the agent runs. */
#define CAPS_NEEDED                                                                                \
	(CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SETPCAP) | CAP_BIT(CAP_KILL))
#define CAPS_USEFUL CAP_BIT(CAP_SYS_NICE)

enum action { ACTION_RUN, ACTION_CHECK, ACTION_PRINT, ACTION_SYSUSERS, ACTION_RIGHTS, ACTION_DONE };

static void print_usage(FILE *to)
{
	fputs("usage: mhad [--config FILE] [--foreground]\n"
	      "       mhad [--config FILE] --check-config | --print-config\n"
	      "       mhad --print-sysusers | --print-rights | --version | --help\n"
	      "\n"
	      "  --config FILE     configuration file (" MHAD_CONF ")\n"
	      "  --foreground      accepted and meaningless: mhad never leaves the foreground\n"
	      "  --check-config    check the configuration and exit\n"
	      "  --print-config    print the effective configuration and exit\n"
	      "  --print-sysusers  print the operating system users as a sysusers.d file\n"
	      "  --print-rights    print what each worker may\n"
	      "\n"
	      "SIGTERM stops the agent as agent.on_stop says, SIGHUP reloads the configuration.\n",
	      to);
}

/* Returns -1 for a command line that makes no sense. */
static int parse_arguments(int argc, char **argv, const char **path)
{
	static const struct option OPTIONS[] = {
		{"config", required_argument, NULL, 'c'},
		{"foreground", no_argument, NULL, 'f'},
		{"check-config", no_argument, NULL, ACTION_CHECK},
		{"print-config", no_argument, NULL, ACTION_PRINT},
		{"print-sysusers", no_argument, NULL, ACTION_SYSUSERS},
		{"print-rights", no_argument, NULL, ACTION_RIGHTS},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int action = ACTION_RUN;
	int choice;

	while ((choice = getopt_long(argc, argv, "c:fh", OPTIONS, NULL)) != -1) {
		switch (choice) {
		case 'c':
			*path = optarg;
			break;
		case 'f':
			break;
		case 'v':
			puts("mhad (mha4rdb) " MHAD_VERSION);
			return ACTION_DONE;
		case 'h':
			print_usage(stdout);
			return ACTION_DONE;
		case ACTION_CHECK:
		case ACTION_PRINT:
		case ACTION_SYSUSERS:
		case ACTION_RIGHTS:
			action = choice;
			break;
		default:
			return -1;
		}
	}
	return optind == argc ? action : -1;
}

static int inspect(enum action action, const struct conf *conf, const char *path, struct err *why)
{
	int rc;

	if (action == ACTION_PRINT)
		return conf_print(conf, stdout, why);
	/* Whoever else checks a configuration cannot read these files. */
	if (geteuid() == 0 && (rc = secrets_check(conf, why)) < 0)
		return rc;
	printf("%s: ok (cluster %s, node %s, %u members)\n", path, conf->cluster_name,
	       conf->node_name, conf->member_count);
	return 0;
}

/* Beside mhad in a build directory, else where they are installed. */
static int find_libexec(struct master *master, struct err *why)
{
	char self[200];
	char probe[300];
	const ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *dir = MHAD_LIBEXEC_DIR;

	if (master->conf.libexec_dir[0] != '\0') {
		dir = master->conf.libexec_dir;
	} else if (length > 0) {
		self[length] = '\0';
		*strrchr(self, '/') = '\0';
		snprintf(probe, sizeof(probe), "%s/mha-%s", self,
			 WORKER_ROWS[MASTER_consensus].name);
		if (access(probe, X_OK) == 0)
			dir = self;
	}
	if (!text_copy(master->libexec_dir, sizeof(master->libexec_dir), dir))
		return err_set(why, ERR_TOO_BIG, "%s: the path is too long", dir);
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		if (!worker_runs_here((enum master_worker)i, &master->conf))
			continue;
		snprintf(probe, sizeof(probe), "%s/mha-%s", dir, WORKER_ROWS[i].name);
		if (access(probe, X_OK) < 0)
			return err_set_errno(why, ERR_NOT_FOUND, errno, "worker program %s", probe);
	}
	return 0;
}

static int find_users(struct master *master, struct os_user users[MASTER_WORKER_COUNT],
		      struct err *why)
{
	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		const enum master_worker id = (enum master_worker)i;
		int rc;

		/* Directories exist for all routes; the database's user only on data nodes. */
		users[i] = (struct os_user){.uid = 0, .gid = 0};
		master->children[i].enabled = worker_runs_here(id, &master->conf);
		if (!master->children[i].enabled)
			continue;
		rc = user_find(&users[i], worker_user(id, &master->conf), why);
		if (rc < 0)
			return rc;
		master->children[i].user = users[i];
	}
	return 0;
}

/* The vip worker announces with it; CAP_NET_RAW itself is given to nobody. */
static int open_packet_socket(struct master *master, struct err *why)
{
	master->packet_fd = -1;
	if (!master->children[MASTER_vip].enabled || master->conf.vip_address[0] == '\0')
		return 0;
	/* Protocol 0: it sends, and receives nothing. */
	master->packet_fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (master->packet_fd < 0)
		return err_set_errno(why, errno == EPERM ? ERR_PERM : ERR_IO, errno,
				     "packet socket");
	return 0;
}

/* Once, while it is still allowed; real-time workers inherit it, the others get the old limit. */
static void lift_memory_limit(struct master *master)
{
	const struct rlimit none = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

	if (getrlimit(RLIMIT_MEMLOCK, &master->locked) < 0)
		master->locked = (struct rlimit){.rlim_cur = 0, .rlim_max = 0};
	if (setrlimit(RLIMIT_MEMLOCK, &none) < 0)
		log_event(LOG_INFO, "master.memory_limit", "cannot be lifted: %s", strerror(errno));
}

static int drop_rights(const struct master *master, struct err *why)
{
	uint64_t needed = CAPS_NEEDED;
	uint64_t have;
	int rc;

	for (unsigned i = 0; i < MASTER_WORKER_COUNT; i++) {
		if (master->children[i].enabled)
			needed |= WORKER_ROWS[i].caps;
	}
	if ((rc = caps_permitted(&have, why)) < 0)
		return rc;
	if ((needed & ~have) != 0)
		return err_set(why, ERR_PERM,
			       "capability %d is missing; mhad needs SETUID, SETGID, SETPCAP, KILL "
			       "and, on data nodes, NET_ADMIN",
			       __builtin_ctzll(needed & ~have));
	needed |= CAPS_USEFUL & have;
	if ((rc = caps_bound(needed, why)) < 0 || (rc = caps_keep(needed, false, why)) < 0)
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set_errno(why, ERR_IO, errno, "no new privileges");
	/* Workers and the database inherit it; a list that fits all of them cannot be shorter. */
	if (master->conf.sandbox_seccomp != SANDBOX_OFF)
		rc = seccomp_guard(master->conf.sandbox_seccomp == SANDBOX_LOG, why);
	return rc;
}

static int open_section(struct master *master, struct err *why)
{
	struct status_master *section = &master->section;
	const int fd = layout_open_status(&master->layout, STATUS_MASTER, why);
	int rc;

	if (fd < 0)
		return fd;
	rc = status_open_fd(&master->status, STATUS_MASTER, fd, why);
	close(fd);
	if (rc < 0)
		return rc;
	section->pid = getpid();
	section->started_ns = clock_boot_ns();
	if (!text_copy(section->node, sizeof(section->node), master->conf.node_name) ||
	    !text_copy(section->cluster, sizeof(section->cluster), master->conf.cluster_name))
		return err_set(why, ERR_TOO_BIG, "names are too long");
	return 0;
}

/* Everything that needs root's rights, then without them the supervision. */
static int run(struct master *master, struct err *why)
{
	struct os_user users[MASTER_WORKER_COUNT];
	int rc;

	/* Before the first secret is read. */
	if (!OS_SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_set_errno(why, ERR_IO, errno, "undumpable");
	if ((rc = find_libexec(master, why)) < 0 || (rc = find_users(master, users, why)) < 0 ||
	    (rc = layout_make(&master->layout, &master->conf, users, why)) < 0 ||
	    (rc = secrets_read(master->secrets, &master->conf, &users[MASTER_dbctl], why)) < 0 ||
	    (rc = open_packet_socket(master, why)) < 0 || (rc = open_section(master, why)) < 0)
		return rc;
	master->conf_fd = conf_seal(&master->conf, why);
	if (master->conf_fd < 0)
		return master->conf_fd;
	if ((rc = notify_open(&master->notify, why)) < 0 ||
	    (rc = feed_open(&master->feed, &master->conf, &master->section.watchdog, why)) < 0)
		return rc;
	lift_memory_limit(master);
	if ((rc = drop_rights(master, why)) < 0)
		return err_in(why, rc, "give up what is not needed");
	return supervise(master, why);
}

int main(int argc, char **argv)
{
	static struct master master;
	struct err why;
	int action;

	master.conf_path = MHAD_CONF;
	action = parse_arguments(argc, argv, &master.conf_path);
	if (action < 0) {
		print_usage(stderr);
		return 2;
	}
	if (action == ACTION_DONE)
		return EXIT_SUCCESS;
	if (action == ACTION_SYSUSERS) {
		table_print_sysusers(stdout);
		return EXIT_SUCCESS;
	}
	if (action == ACTION_RIGHTS) {
		table_print_rights(stdout);
		return EXIT_SUCCESS;
	}
	log_open("-", "master", LOG_NOTICE);
	if (action == ACTION_RUN && geteuid() != 0) {
		log_event(LOG_ERROR, "master.start", "mhad must be started by root");
		return EXIT_FAILURE;
	}
	if (conf_load(&master.conf, master.conf_path, &why) < 0) {
		log_event(LOG_ERROR, "config.refused", "%s", why.text);
		return EXIT_FAILURE;
	}
	if (action != ACTION_RUN) {
		if (inspect((enum action)action, &master.conf, master.conf_path, &why) == 0)
			return EXIT_SUCCESS;
		log_event(LOG_ERROR, "config.refused", "%s", why.text);
		return EXIT_FAILURE;
	}
	log_open(master.conf.node_name, "master", (enum log_level)master.conf.log_level);
	log_set_format((enum log_format)master.conf.log_format);
	if (run(&master, &why) < 0) {
		log_event(LOG_ERROR, "master.failed", "%s", why.text);
		return EXIT_FAILURE;
	}
	log_event(LOG_NOTICE, "master.stopped", "pid=%d", getpid());
	return EXIT_SUCCESS;
}
