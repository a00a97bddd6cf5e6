#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include "access/table.h"
#include "base/macros.h"
#include "base/text.h"
#include "os/landlock.h"
#include "os/process.h"
#include "os/secret.h"
#include "os/user.h"
#include "wire/key.h"

/* The fence's table, as docs/fencing.md names it. */
#define FENCE_TABLE_NAME "mha4rdb"
#define PORT_TIMEOUT_MS  1000
#define ANSWER_MS        500

/* The first line of a small file of the kernel's; false: there is none. */
static bool first_line(const char *path, char *line, int size)
{
	FILE *from = fopen(path, "re");
	bool read;

	if (from == NULL)
		return false;
	read = fgets(line, size, from) != NULL;
	fclose(from);
	if (read)
		line[strcspn(line, "\n")] = '\0';
	return read;
}

static void probe_clock(struct doctor_facts *facts)
{
	struct timex state = {.modes = 0};
	int rc;

	(void)first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource",
			 facts->clock_source, sizeof(facts->clock_source));
	rc = adjtimex(&state);
	if (rc < 0)
		return;
	facts->clock_synced =
		rc == TIME_ERROR || (state.status & STA_UNSYNC) != 0 ? SEEN_NO : SEEN_YES;
	facts->clock_error_us = state.maxerror;
}

void probe_host(struct doctor_facts *facts)
{
	struct err why = {0};
	char line[32];
	int fd;

	probe_clock(facts);
	fd = process_open(getpid(), &why);
	facts->pidfd = fd >= 0 ? SEEN_YES : SEEN_NO;
	if (fd >= 0)
		close(fd);
	facts->landlock = landlock_version();
	if (first_line("/proc/sys/vm/overcommit_memory", line, sizeof(line)))
		facts->overcommits = strcmp(line, "2") == 0 ? SEEN_NO : SEEN_YES;
}

/* "Max locked memory    unlimited    unlimited    bytes": the first column of numbers. */
static uint64_t limit_of(const char *line, size_t name_size)
{
	char word[32];
	uint64_t value;

	if (sscanf(line + name_size, "%31s", word) != 1)
		return 0;
	if (strcmp(word, "unlimited") == 0)
		return UINT64_MAX;
	return text_parse_u64(word, &value) ? value : 0;
}

static void read_limits(struct doctor_facts *facts, int pid)
{
	static const char memory[] = "Max locked memory", priority[] = "Max realtime priority";
	char path[64], line[160];
	FILE *from;

	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	from = fopen(path, "re");
	if (from == NULL)
		return;
	while (fgets(line, sizeof(line), from) != NULL) {
		if (strncmp(line, memory, sizeof(memory) - 1) == 0) {
			facts->memlock_bytes = limit_of(line, sizeof(memory) - 1);
			facts->limits_known = true;
		}
		if (strncmp(line, priority, sizeof(priority) - 1) == 0)
			facts->rtprio = limit_of(line, sizeof(priority) - 1);
	}
	fclose(from);
}

void probe_limits(struct doctor_facts *facts)
{
	for (size_t i = 0; facts->status != NULL && i < facts->status->n_workers; i++) {
		const Mha__Client__Worker *worker = facts->status->workers[i];

		if (strcmp(worker->name, "consensus") == 0 && worker->pid > 0)
			read_limits(facts, worker->pid);
	}
}

void probe_conf_file(struct doctor_facts *facts)
{
	struct stat file;

	if (stat(facts->conf_path, &file) == 0)
		facts->conf_trusted =
			file.st_uid == 0 && (file.st_mode & 0022) == 0 ? SEEN_YES : SEEN_NO;
}

/* secrets */

static void forget(char *text, size_t size)
{
	if (text != NULL)
		explicit_bzero(text, size);
	free(text);
}

static void probe_key(struct doctor_facts *facts)
{
	struct key key;
	char *text = NULL;
	size_t size = 0;

	if (secret_load(facts->conf->secret_key_file, 0, SECRET_PRIVATE, KEY_FILE_MAX, &text, &size,
			&facts->key_why) < 0)
		return;
	if (key_parse(text, &key, &facts->key_why) == 0)
		snprintf(facts->public_key, sizeof(facts->public_key), "%s", key.public);
	explicit_bzero(&key, sizeof(key));
	forget(text, size);
}

static void probe_access_file(struct doctor_facts *facts, const char *name, const char *path,
			      enum secret_privacy privacy, int table)
{
	struct access_table *rows;
	struct err why = {0};
	char *text = NULL;
	size_t size = 0;
	int rc;

	if (path[0] == '\0' || facts->access_why.code != 0)
		return;
	rc = secret_load(path, 0, privacy, 65536, &text, &size, &why);
	rows = rc == 0 && table >= 0 ? calloc(1, sizeof(*rows)) : NULL;
	if (rows != NULL)
		rc = access_parse(rows, (enum access_file)table, text, size, &why);
	free(rows);
	forget(text, size);
	if (rc < 0) {
		err_in(&why, rc, "%s", name);
		facts->access_why = why;
	}
}

void probe_secrets(struct doctor_facts *facts)
{
	const struct conf *conf = facts->conf;
	struct os_user user;
	char *text = NULL;
	size_t size = 0;

	if (!facts->root || conf == NULL)
		return;
	facts->secrets_known = true;
	probe_key(facts);
	if (conf_self(conf)->kind == MEMBER_DATA &&
	    user_find(&user, conf->pg_os_user, &facts->password_why) == 0 &&
	    secret_load(conf->pg_replication_password_file, user.uid, SECRET_PRIVATE,
			SECRET_SIZE_MAX, &text, &size, &facts->password_why) == 0)
		forget(text, size);
	probe_access_file(facts, "client.secret_file", conf->client_secret_file, SECRET_PRIVATE,
			  -1);
	probe_access_file(facts, "client.authorized_file", conf->client_authorized_file,
			  SECRET_PUBLIC, ACCESS_CLIENTS);
	probe_access_file(facts, "http.users_file", conf->http_users_file, SECRET_PRIVATE,
			  ACCESS_USERS);
	probe_access_file(facts, "http.tls_certificate_file", conf->http_certificate_file,
			  SECRET_PUBLIC, -1);
	probe_access_file(facts, "http.tls_key_file", conf->http_key_file, SECRET_PRIVATE, -1);
}

/* the kernel's fence */

struct table_request {
	struct nlmsghdr header;
	struct nfgenmsg family;
	struct nlattr attribute;
	char name[(sizeof(FENCE_TABLE_NAME) + 3) / 4 * 4];
};

/* The answer's error number, 0 for a table, -1: none came. */
static int ask_table(int fd)
{
	struct table_request ask = {
		.header = {.nlmsg_len = sizeof(ask),
			   .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
			   .nlmsg_flags = NLM_F_REQUEST,
			   .nlmsg_seq = 1},
		.family = {.nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0},
		.attribute = {.nla_len = sizeof(struct nlattr) + sizeof(FENCE_TABLE_NAME),
			      .nla_type = NFTA_TABLE_NAME},
		.name = FENCE_TABLE_NAME,
	};
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	_Alignas(struct nlmsghdr) char buffer[4096];
	struct nlmsghdr header;
	struct nlmsgerr error;
	ssize_t size;

	if (send(fd, &ask, sizeof(ask), 0) != (ssize_t)sizeof(ask) ||
	    poll(&ready, 1, ANSWER_MS) != 1)
		return -1;
	size = recv(fd, buffer, sizeof(buffer), 0);
	if (size < (ssize_t)sizeof(header))
		return -1;
	memcpy(&header, buffer, sizeof(header));
	if (header.nlmsg_type != NLMSG_ERROR)
		return 0;
	if (size < (ssize_t)NLMSG_LENGTH(sizeof(error)))
		return -1;
	memcpy(&error, buffer + NLMSG_HDRLEN, sizeof(error));
	return error.error < 0 ? -error.error : 0;
}

void probe_fence(struct doctor_facts *facts)
{
	int fd, answer;

	if (!facts->root)
		return;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0) {
		facts->nftables = errno == EPROTONOSUPPORT ? SEEN_NO : SEEN_UNKNOWN;
		return;
	}
	answer = ask_table(fd);
	close(fd);
	/* Root without CAP_NET_ADMIN, as in a container, is told nothing. */
	if (answer < 0 || answer == EPERM)
		return;
	facts->nftables = answer == 0 || answer == ENOENT ? SEEN_YES : SEEN_NO;
	if (answer == 0 || answer == ENOENT)
		facts->fence_table = answer == 0 ? SEEN_YES : SEEN_NO;
}

/* disks and ports */

static void probe_disk(struct doctor_disk *disk, const char *what, const char *path)
{
	struct statvfs state;

	disk->what = what;
	if (!text_copy(disk->path, sizeof(disk->path), path) || statvfs(path, &state) != 0)
		return;
	disk->known = true;
	disk->free_bytes = (uint64_t)state.f_bavail * state.f_frsize;
	disk->total_bytes = (uint64_t)state.f_blocks * state.f_frsize;
}

void probe_disks(struct doctor_facts *facts)
{
	char wal[220];

	if (facts->conf == NULL)
		return;
	probe_disk(&facts->disks[0], "paths.state_dir", facts->conf->state_dir);
	if (conf_self(facts->conf)->kind != MEMBER_DATA)
		return;
	probe_disk(&facts->disks[1], "postgresql.data_dir", facts->conf->pg_data_dir);
	snprintf(wal, sizeof(wal), "%s/pg_wal", facts->conf->pg_data_dir);
	if (strlen(wal) < sizeof(facts->disks[2].path))
		probe_disk(&facts->disks[2], "the directory of the WAL", wal);
}

static bool connected(int fd, const struct addrinfo *to, char *why, size_t size)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	int number = 0;
	socklen_t length = sizeof(number);

	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
		return true;
	if (errno != EINPROGRESS) {
		snprintf(why, size, "%s", strerror(errno));
		return false;
	}
	if (poll(&ready, 1, PORT_TIMEOUT_MS) != 1) {
		snprintf(why, size, "no answer within a second");
		return false;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length) == 0 && number == 0)
		return true;
	snprintf(why, size, "%s", strerror(number));
	return false;
}

static void probe_port(struct doctor_facts *facts, const struct conf_member *member,
		       const char *what, uint64_t port)
{
	const struct addrinfo wanted = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
					.ai_socktype = SOCK_STREAM};
	struct doctor_port *row;
	struct addrinfo *found;
	char service[8];
	int fd;

	if (facts->port_count == DOCTOR_PORTS_MAX)
		return;
	row = &facts->ports[facts->port_count++];
	snprintf(row->member, sizeof(row->member), "%s", member->name);
	snprintf(row->address, sizeof(row->address), "%s", member->address);
	row->what = what;
	row->port = (uint16_t)port;
	snprintf(service, sizeof(service), "%u", (unsigned)row->port);
	if (getaddrinfo(member->address, service, &wanted, &found) != 0) {
		snprintf(row->why, sizeof(row->why), "this is no address");
		return;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		snprintf(row->why, sizeof(row->why), "%s", strerror(errno));
	else
		row->open = connected(fd, found, row->why, sizeof(row->why));
	if (fd >= 0)
		close(fd);
	freeaddrinfo(found);
}

static const Mha__Client__Member *member_named(const Mha__Client__Status *status, const char *name)
{
	for (size_t i = 0; status != NULL && i < status->n_members; i++) {
		if (strcmp(status->members[i]->name, name) == 0)
			return status->members[i];
	}
	return NULL;
}

void probe_ports(struct doctor_facts *facts)
{
	const struct conf *conf = facts->conf;

	for (unsigned i = 0; conf != NULL && i < conf->member_count; i++) {
		const struct conf_member *row = &conf->members[i];
		const Mha__Client__Member *member = member_named(facts->status, row->name);

		if (i == conf->self || (member != NULL && member->maintenance))
			continue;
		if (member == NULL || !member->heard)
			probe_port(facts, row, "agent", row->peer_port);
		/* A primary that does not serve is fenced: that its port is shut is right. */
		if (row->kind == MEMBER_DATA && member != NULL && member->heard &&
		    !member->streaming && strcmp(member->role, "standby") == 0)
			probe_port(facts, row, "database", row->postgres_port);
	}
}
