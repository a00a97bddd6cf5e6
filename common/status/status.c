#include "status/status.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

/* A reader is disturbed only when two whole publications fall into one copy. */
#define READ_ATTEMPTS 64

/* All of it in the byte order of the host: the file never leaves it. */
struct status_header {
	_Atomic uint64_t magic; /* written last */
	uint32_t version;
	uint32_t id;
	uint64_t size;                /* of the section's struct */
	_Atomic uint64_t published;   /* 0: never; else the current slot is published % 2 */
	_Atomic uint64_t slot_seq[2]; /* odd: being written */
};

static const struct {
	const char *name;
	size_t size;
} SECTIONS[STATUS_SECTION_COUNT] = {
	[STATUS_MASTER] = {"master", sizeof(struct status_master)},
	[STATUS_CONSENSUS] = {"consensus", sizeof(struct status_consensus)},
	[STATUS_DBMON] = {"dbmon", sizeof(struct status_dbmon)},
	[STATUS_DBCTL] = {"dbctl", sizeof(struct status_dbctl)},
	[STATUS_VIP] = {"vip", sizeof(struct status_vip)},
	[STATUS_GATEWAY] = {"gateway", sizeof(struct status_gateway)},
};

size_t status_section_size(enum status_section_id id)
{
	CHECK((unsigned)id < STATUS_SECTION_COUNT);
	return SECTIONS[id].size;
}

const char *status_section_name(enum status_section_id id)
{
	CHECK((unsigned)id < STATUS_SECTION_COUNT);
	return SECTIONS[id].name;
}

static size_t slot_words(enum status_section_id id)
{
	return (status_section_size(id) + sizeof(uint64_t) - 1) / sizeof(uint64_t);
}

static size_t file_size(enum status_section_id id)
{
	return sizeof(struct status_header) + 2 * slot_words(id) * sizeof(uint64_t);
}

static struct status_header *header_of(const struct status_map *map)
{
	CHECK(map->base != NULL);
	return map->base;
}

static _Atomic uint64_t *slot_of(const struct status_map *map, uint64_t slot)
{
	unsigned char *base = map->base;

	return (_Atomic uint64_t *)(void *)(base + sizeof(struct status_header)) +
	       slot * slot_words(map->id);
}

static bool header_fits(const struct status_header *header, enum status_section_id id)
{
	return atomic_load_explicit(&header->magic, memory_order_acquire) == STATUS_MAGIC &&
	       header->version == STATUS_VERSION && header->id == (uint32_t)id &&
	       header->size == status_section_size(id);
}

static void header_renew(struct status_header *header, enum status_section_id id)
{
	atomic_store_explicit(&header->magic, 0, memory_order_seq_cst);
	header->version = STATUS_VERSION;
	header->id = (uint32_t)id;
	header->size = status_section_size(id);
	atomic_store_explicit(&header->published, 0, memory_order_relaxed);
	for (unsigned slot = 0; slot < 2; slot++)
		atomic_store_explicit(&header->slot_seq[slot], 0, memory_order_relaxed);
	atomic_store_explicit(&header->magic, STATUS_MAGIC, memory_order_release);
}

int status_open_fd(struct status_map *map, enum status_section_id id, int fd, struct err *why)
{
	const char *name = status_section_name(id);
	struct stat stat;

	*map = (struct status_map){.id = id, .size = file_size(id), .writable = true};
	if (fstat(fd, &stat) < 0)
		return err_set_errno(why, ERR_IO, errno, "status section %s: fstat", name);
	if (!S_ISREG(stat.st_mode))
		return err_set(why, ERR_INVALID, "status section %s: not a regular file", name);
	/* Never shortened: a reader may have the longer file of an older version mapped. */
	if (stat.st_size < (off_t)map->size && ftruncate(fd, (off_t)map->size) < 0)
		return err_set_errno(why, ERR_IO, errno, "status section %s: make %zu bytes", name,
				     map->size);
	map->base = mmap(NULL, map->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map->base == MAP_FAILED) {
		map->base = NULL;
		return err_set_errno(why, ERR_IO, errno, "status section %s: mmap", name);
	}
	if (!header_fits(map->base, id))
		header_renew(map->base, id);
	return 0;
}

static int check_header(const struct status_map *map, const char *path, struct err *why)
{
	const struct status_header *header = header_of(map);
	const uint64_t magic = atomic_load_explicit(&header->magic, memory_order_acquire);

	if (magic == 0)
		return err_set(why, ERR_NOT_FOUND, "%s: not written yet", path);
	if (magic != STATUS_MAGIC)
		return err_set(why, ERR_CORRUPT, "%s: is no status section (magic %#" PRIx64 ")",
			       path, magic);
	if (header->version != STATUS_VERSION)
		return err_set(why, ERR_VERSION, "%s: version %u, this program reads version %d",
			       path, header->version, STATUS_VERSION);
	if (header->id != (uint32_t)map->id)
		return err_set(why, ERR_CORRUPT, "%s: holds section %u, not %s", path, header->id,
			       status_section_name(map->id));
	if (header->size != status_section_size(map->id))
		return err_set(why, ERR_VERSION,
			       "%s: a section of %" PRIu64 " bytes, this program reads %zu", path,
			       header->size, status_section_size(map->id));
	return 0;
}

static int map_for_reading(struct status_map *map, int fd, const char *path, struct err *why)
{
	struct stat stat;
	int rc;

	if (fstat(fd, &stat) < 0)
		return err_set_errno(why, ERR_IO, errno, "%s: fstat", path);
	if (!S_ISREG(stat.st_mode))
		return err_set(why, ERR_CORRUPT, "%s: not a regular file", path);
	if (stat.st_size == 0)
		return err_set(why, ERR_NOT_FOUND, "%s: not written yet", path);
	if (stat.st_size < (off_t)sizeof(struct status_header))
		return err_set(why, ERR_CORRUPT, "%s: too short for a status section", path);
	/* An older, shorter file is mapped as far as its header, which names its version. */
	map->size = stat.st_size < (off_t)file_size(map->id) ? sizeof(struct status_header)
							     : file_size(map->id);
	map->base = mmap(NULL, map->size, PROT_READ, MAP_SHARED, fd, 0);
	if (map->base == MAP_FAILED) {
		map->base = NULL;
		return err_set_errno(why, ERR_IO, errno, "%s: mmap", path);
	}
	rc = check_header(map, path, why);
	if (rc == 0 && map->size < file_size(map->id))
		rc = err_set(why, ERR_CORRUPT, "%s: shorter than its header says", path);
	if (rc < 0)
		status_close(map);
	return rc;
}

int status_open_read(struct status_map *map, enum status_section_id id, const char *run_dir,
		     struct err *why)
{
	char path[512];
	int fd, rc, length;

	*map = (struct status_map){.id = id};
	length = snprintf(path, sizeof(path), "%s/status/%s", run_dir, status_section_name(id));
	if (length < 0 || (size_t)length >= sizeof(path))
		return err_set(why, ERR_TOO_BIG, "the path of the run directory is too long");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_set_errno(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s",
				     path);
	rc = map_for_reading(map, fd, path, why);
	close(fd);
	return rc;
}

void status_close(struct status_map *map)
{
	if (map->base != NULL)
		munmap(map->base, map->size);
	map->base = NULL;
}

/* The last word may be partly padding: it is put together in a local. */
static void store_words(_Atomic uint64_t *words, const void *section, size_t size)
{
	const unsigned char *from = section;

	for (size_t done = 0; done < size; done += sizeof(uint64_t)) {
		const size_t part = size - done < sizeof(uint64_t) ? size - done : sizeof(uint64_t);
		uint64_t word = 0;

		memcpy(&word, from + done, part);
		atomic_store_explicit(words++, word, memory_order_relaxed);
	}
}

static void load_words(void *section, _Atomic uint64_t *words, size_t size)
{
	unsigned char *to = section;

	for (size_t done = 0; done < size; done += sizeof(uint64_t)) {
		const size_t part = size - done < sizeof(uint64_t) ? size - done : sizeof(uint64_t);
		const uint64_t word = atomic_load_explicit(words++, memory_order_relaxed);

		memcpy(to + done, &word, part);
	}
}

void status_publish(struct status_map *map, const void *section)
{
	struct status_header *header = header_of(map);
	const uint64_t last = atomic_load_explicit(&header->published, memory_order_relaxed);
	/* 0 says that nothing was published: after the highest number, which only damage can bring
	 * about, comes the next one of the same slot. */
	const uint64_t next = last == UINT64_MAX ? 2 : last + 1;
	_Atomic uint64_t *slot_seq = &header->slot_seq[next % 2];
	/* Odd already, if an earlier writer was killed in this slot. */
	const uint64_t seq = atomic_load_explicit(slot_seq, memory_order_relaxed) | 1;

	CHECK(map->writable);
	atomic_store_explicit(slot_seq, seq, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	store_words(slot_of(map, next % 2), section, status_section_size(map->id));
	atomic_store_explicit(slot_seq, seq + 1, memory_order_release);
	atomic_store_explicit(&header->published, next, memory_order_release);
}

int status_read(const struct status_map *map, void *section, struct err *why)
{
	struct status_header *header = header_of(map);

	for (unsigned attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
		/* A new writer's program may have another layout. */
		if (!header_fits(header, map->id))
			return err_set(why, ERR_VERSION, "status section %s: its layout changed",
				       status_section_name(map->id));

		const uint64_t published =
			atomic_load_explicit(&header->published, memory_order_acquire);

		if (published == 0)
			return err_set(why, ERR_NOT_FOUND, "status section %s: nothing published",
				       status_section_name(map->id));

		_Atomic uint64_t *slot_seq = &header->slot_seq[published % 2];
		const uint64_t before = atomic_load_explicit(slot_seq, memory_order_acquire);

		if (before % 2 != 0)
			continue;
		load_words(section, slot_of(map, published % 2), status_section_size(map->id));
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(slot_seq, memory_order_relaxed) == before)
			return 0;
	}
	return err_set(why, ERR_BUSY, "status section %s: changes faster than it can be copied",
		       status_section_name(map->id));
}
