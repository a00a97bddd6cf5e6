#include "conf/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "conf/option.h"

#define FILE_SIZE_MAX ((size_t)256 * 1024)

/*
 * The whole file. Read with pread(): several workers share one open description of the
 * configuration's memfd, and with it one file position.
 */
static int read_all(int fd, const char *name, char **text, size_t *size, struct err *why)
{
	char *buffer = malloc(FILE_SIZE_MAX + 1);
	size_t used = 0;

	if (buffer == NULL)
		return err_set(why, ERR_NO_MEMORY, "%s: out of memory", name);
	while (used <= FILE_SIZE_MAX) {
		const ssize_t got = pread(fd, buffer + used, FILE_SIZE_MAX + 1 - used, (off_t)used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			const int code = err_set_errno(why, ERR_IO, errno, "%s: read", name);

			free(buffer);
			return code;
		}
		if (got == 0) {
			*text = buffer;
			*size = used;
			return 0;
		}
		used += (size_t)got;
	}
	free(buffer);
	return err_set(why, ERR_TOO_BIG, "%s: larger than %zu bytes", name, FILE_SIZE_MAX);
}

int conf_read_source(struct conf *conf, struct conf_source *source, int fd, struct err *why)
{
	char *text = NULL;
	size_t size = 0;
	int rc;

	memset(conf, 0, sizeof(*conf));
	rc = read_all(fd, source->name, &text, &size, why);
	if (rc < 0)
		return rc;
	rc = conf_parse(conf, source, text, size, why);
	free(text);
	if (rc < 0)
		return rc;
	return conf_check(conf, source, why);
}

int conf_read_fd(struct conf *conf, int fd, const char *name, struct err *why)
{
	struct conf_source source = {.name = name};

	return conf_read_source(conf, &source, fd, why);
}

int conf_read(struct conf *conf, const char *path, struct err *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno,
				     "%s: open", path);
	rc = conf_read_fd(conf, fd, path, why);
	close(fd);
	return rc;
}

static size_t option_bytes(const struct option *option, const struct conf *conf)
{
	unsigned count;

	if (option->kind != OPTION_PAIRS && option->kind != OPTION_LINES)
		return option->size;
	memcpy(&count, (const char *)conf + option->count_offset, sizeof(count));
	return count * (option->kind == OPTION_PAIRS ? sizeof(struct conf_pair) : CONF_PAIR_SIZE);
}

/* Storage is zeroed before parsing and text_copy() is the only writer: bytes can be compared. */
static bool option_equal(const struct option *option, const struct conf *a, const struct conf *b)
{
	const size_t bytes = option_bytes(option, a);

	return bytes == option_bytes(option, b) &&
	       memcmp((const char *)a + option->offset, (const char *)b + option->offset, bytes) ==
		       0;
}

static int check_member_unchanged(const struct conf_member *a, const struct conf_member *b,
				  struct err *why)
{
	for (unsigned i = 0; i < MEMBER_OPTION_COUNT; i++) {
		const struct option *option = &MEMBER_OPTIONS[i];

		/* Keys change while agents run: docs/security.md, "A node's key". */
		if (i == MEM_public_key || i == MEM_next_public_key)
			continue;
		if (memcmp((const char *)a + option->offset, (const char *)b + option->offset,
			   option->size) != 0)
			return err_set(why, ERR_REFUSED,
				       "members: %s of member %s has changed, which takes effect "
				       "only on a restart of the agent",
				       option->key, a->name);
	}
	return 0;
}

/* The sandbox of a running agent lets it connect to the ports that it knew at its start. */
static bool port_known(const struct conf *conf, uint64_t port)
{
	for (unsigned i = 0; i < conf->member_count; i++)
		if (i != conf->self && conf->members[i].peer_port == port)
			return true;
	return false;
}

/* Rows may come and go; those that stay stay as they are. */
static int check_members_reload(const struct conf *running, const struct conf *fresh,
				struct err *why)
{
	for (unsigned i = 0; i < fresh->member_count; i++) {
		const struct conf_member *row = &fresh->members[i];
		const struct conf_member *before = conf_member_by_id(running, row->id);
		int rc = 0;

		if (before != NULL)
			rc = check_member_unchanged(before, row, why);
		else if (row->founding)
			rc = err_set(why, ERR_REFUSED,
				     "members: %s is new, and so none of the first members: it "
				     "needs `founding: off`",
				     row->name);
		else if (running->sandbox_landlock != LANDLOCK_OFF &&
			 !port_known(running, row->peer_port))
			rc = err_set(why, ERR_REFUSED,
				     "members: %s has another peer_port than all others, which "
				     "takes effect only on a restart of the agent",
				     row->name);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int conf_reload_check(const struct conf *running, const struct conf *fresh, struct err *why)
{
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		if (OPTIONS[i].effect == ON_RESTART && !option_equal(&OPTIONS[i], running, fresh))
			return err_set(why, ERR_REFUSED,
				       "%s has changed, which takes effect only on a restart of "
				       "the agent",
				       OPTIONS[i].key);
	}
	return check_members_reload(running, fresh, why);
}

const struct conf_member *conf_self(const struct conf *conf)
{
	CHECK(conf->self < conf->member_count);
	return &conf->members[conf->self];
}

const struct conf_member *conf_member_by_id(const struct conf *conf, uint64_t id)
{
	for (unsigned i = 0; i < conf->member_count; i++) {
		if (conf->members[i].id == id)
			return &conf->members[i];
	}
	return NULL;
}

#define DIGEST_FIRST UINT64_C(0xcbf29ce484222325)

/* FNV-1a, 64 bits: it names things; what proves identity is the peer's CURVE key. */
static uint64_t digest_byte(uint64_t digest, unsigned char byte)
{
	return (digest ^ byte) * UINT64_C(0x100000001b3);
}

static uint64_t digest_text(uint64_t digest, const char *text)
{
	for (; *text != '\0'; text++)
		digest = digest_byte(digest, (unsigned char)*text);
	return digest;
}

static uint64_t digest_number(uint64_t digest, uint64_t number)
{
	for (unsigned i = 0; i < sizeof(number); i++)
		digest = digest_byte(digest, (unsigned char)(number >> (8 * i)));
	return digest;
}

uint64_t conf_cluster_digest(const struct conf *conf)
{
	const uint64_t digest = digest_text(DIGEST_FIRST, conf->cluster_id);

	return digest == 0 ? 1 : digest;
}

uint64_t conf_member_identity(const struct conf_member *member)
{
	uint64_t digest = digest_text(DIGEST_FIRST, member->name);

	digest = digest_text(digest_byte(digest, 0), member->public_key);
	return digest == 0 ? 1 : digest;
}

uint64_t conf_roster(const struct conf *conf)
{
	uint64_t digest = DIGEST_FIRST;

	for (uint64_t id = 1; id <= CONF_MEMBERS_MAX; id++) {
		const struct conf_member *member = conf_member_by_id(conf, id);

		if (member == NULL)
			continue;
		digest = digest_number(digest, id);
		digest = digest_number(digest, conf_member_identity(member));
		digest = digest_number(digest, (uint64_t)member->kind);
		digest = digest_number(digest, (uint64_t)member->founding);
		digest = digest_number(digest, member->priority);
		digest = digest_number(digest, member->peer_port);
		digest = digest_number(digest, member->postgres_port);
		digest = digest_byte(digest_text(digest, member->address), 0);
	}
	return digest == 0 ? 1 : digest;
}

unsigned conf_data_members(const struct conf *conf)
{
	unsigned data = 0;

	for (unsigned i = 0; i < conf->member_count; i++)
		data += conf->members[i].kind == MEMBER_DATA && conf->members[i].founding;
	return data;
}

struct settings conf_settings(const struct conf *conf)
{
	struct settings settings = settings_default(conf_data_members(conf));

	if (conf->protection_choice != PROTECTION_AUTO)
		settings.mode = (uint8_t)conf->protection_choice;
	settings.pinned = conf->protection_pinned;
	settings.quorum_sync = (uint8_t)conf->quorum_sync;
	settings.auto_failover = conf->auto_failover;
	settings.auto_primary_switch = conf->auto_primary_switch;
	settings.failover_budget = (uint8_t)conf->failover_budget;
	settings.max_lag_bytes = conf->max_lag_bytes;
	settings.max_lag_ms = (uint32_t)conf->max_lag_ms;
	settings.degrade_ms = (uint32_t)conf->degrade_ms;
	settings.switch_back_ms = (uint32_t)conf->switch_back_ms;
	return settings;
}

unsigned conf_sync_need(const struct conf *conf)
{
	const struct settings settings = conf_settings(conf);

	return settings_sync_need(&settings, conf_data_members(conf));
}
