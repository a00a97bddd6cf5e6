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

int conf_read_fd(struct conf *conf, int fd, const char *name, struct err *why)
{
	struct conf_source source = {.name = name};
	char *text = NULL;
	size_t size = 0;
	int rc;

	memset(conf, 0, sizeof(*conf));
	rc = read_all(fd, name, &text, &size, why);
	if (rc < 0)
		return rc;
	rc = conf_parse(conf, &source, text, size, why);
	free(text);
	if (rc < 0)
		return rc;
	return conf_check(conf, &source, why);
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

int conf_reload_check(const struct conf *running, const struct conf *fresh, struct err *why)
{
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		if (OPTIONS[i].effect == ON_RESTART && !option_equal(&OPTIONS[i], running, fresh))
			return err_set(why, ERR_REFUSED,
				       "%s has changed, which takes effect only on a restart of "
				       "the agent",
				       OPTIONS[i].key);
	}
	if (running->member_count != fresh->member_count)
		return err_set(why, ERR_REFUSED,
			       "members: %u members became %u, which takes effect only on a "
			       "restart of the agent",
			       running->member_count, fresh->member_count);
	for (unsigned i = 0; i < running->member_count; i++) {
		const int rc =
			check_member_unchanged(&running->members[i], &fresh->members[i], why);

		if (rc < 0)
			return rc;
	}
	return 0;
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

/* FNV-1a, 64 bits: it names a cluster; what proves identity is the peer's CURVE key. */
uint64_t conf_cluster_digest(const struct conf *conf)
{
	uint64_t digest = UINT64_C(0xcbf29ce484222325);

	for (const char *c = conf->cluster_id; *c != '\0'; c++) {
		digest ^= (unsigned char)*c;
		digest *= UINT64_C(0x100000001b3);
	}
	return digest == 0 ? 1 : digest;
}

unsigned conf_data_members(const struct conf *conf)
{
	unsigned data = 0;

	for (unsigned i = 0; i < conf->member_count; i++)
		data += conf->members[i].kind == MEMBER_DATA;
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
