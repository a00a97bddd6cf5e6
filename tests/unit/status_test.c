/* Status sections: what a reader gets from a living, dead, foreign, older or torn writer. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macros.h"
#include "status/status.h"

#define EXPECT cr_assert

struct place {
	char run_dir[64];
	char path[96];
};

static void place_make(struct place *place, const char *section)
{
	char folder[80];

	snprintf(place->run_dir, sizeof(place->run_dir), "/tmp/mha-status-XXXXXX");
	EXPECT(mkdtemp(place->run_dir) != NULL);
	snprintf(folder, sizeof(folder), "%s/status", place->run_dir);
	EXPECT(mkdir(folder, 0755) == 0);
	snprintf(place->path, sizeof(place->path), "%s/%s", folder, section);
}

static void place_remove(struct place *place)
{
	char folder[80];

	snprintf(folder, sizeof(folder), "%s/status", place->run_dir);
	(void)unlink(place->path);
	EXPECT(rmdir(folder) == 0 && rmdir(place->run_dir) == 0);
}

static void open_writer(struct status_map *map, const struct place *place)
{
	struct err why;
	const int fd = open(place->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	EXPECT(fd >= 0);
	EXPECT(status_open_fd(map, STATUS_VIP, fd, &why) == 0, "%s", why.text);
	close(fd);
}

static struct status_vip section_of(uint64_t number)
{
	struct status_vip section;

	memset(&section, 0, sizeof(section));
	section.updated_ns = number;
	section.epoch = number;
	section.renewals = number;
	section.last_renew_us = number;
	return section;
}

static bool section_is_whole(const struct status_vip *section)
{
	return section->updated_ns == section->epoch && section->epoch == section->renewals &&
	       section->renewals == section->last_renew_us;
}

/* What the file holds at `offset`, changed behind everybody's back. */
static void overwrite(const struct place *place, off_t offset, const void *bytes, size_t size)
{
	const int fd = open(place->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	EXPECT(fd >= 0 && pwrite(fd, bytes, size, offset) == (ssize_t)size);
	close(fd);
}

Test(status, every_section_has_a_name_and_a_size)
{
	for (unsigned id = 0; id < STATUS_SECTION_COUNT; id++) {
		EXPECT(status_section_size((enum status_section_id)id) > 0);
		for (unsigned other = 0; other < id; other++)
			EXPECT(strcmp(status_section_name((enum status_section_id)id),
				      status_section_name((enum status_section_id)other)) != 0);
	}
	EXPECT(strcmp(status_section_name(STATUS_CONSENSUS), "consensus") == 0);
}

Test(status, what_is_published_is_read)
{
	struct place place;
	struct status_map writer, reader;
	struct status_vip section;
	struct err why;

	place_make(&place, "vip");
	EXPECT(status_open_read(&reader, STATUS_VIP, place.run_dir, &why) == ERR_NOT_FOUND);
	open_writer(&writer, &place);
	EXPECT(status_open_read(&reader, STATUS_VIP, place.run_dir, &why) == 0, "%s", why.text);
	EXPECT(status_read(&reader, &section, &why) == ERR_NOT_FOUND, "nothing is there yet");
	for (uint64_t number = 1; number <= 5; number++) {
		const struct status_vip next = section_of(number);

		status_publish(&writer, &next);
		EXPECT(status_read(&reader, &section, &why) == 0, "%s", why.text);
		EXPECT(section.epoch == number && section_is_whole(&section));
		EXPECT(status_read(&writer, &section, &why) == 0, "the writer's own map");
		EXPECT(section.epoch == number && section_is_whole(&section));
	}
	status_close(&reader);
	status_close(&writer);
	place_remove(&place);
}

Test(status, a_section_survives_its_writer)
{
	struct place place;
	struct status_map writer;
	struct status_vip section = section_of(7);
	struct err why;

	place_make(&place, "vip");
	open_writer(&writer, &place);
	status_publish(&writer, &section);
	status_close(&writer);
	open_writer(&writer, &place);
	memset(&section, 0, sizeof(section));
	EXPECT(status_read(&writer, &section, &why) == 0, "%s", why.text);
	EXPECT(section.epoch == 7);
	section = section_of(8);
	status_publish(&writer, &section);
	EXPECT(status_read(&writer, &section, &why) == 0 && section.epoch == 8);
	status_close(&writer);
	place_remove(&place);
}

/* The layout that status.h describes: header, then two slots. */
enum { AT_MAGIC = 0, AT_VERSION = 8, AT_ID = 12, AT_SIZE = 16, AT_PUBLISHED = 24, AT_SEQ = 32 };

Test(status, a_writer_killed_half_way_leaves_what_it_published_before)
{
	struct place place;
	struct status_map writer, reader;
	struct status_vip section;
	struct err why;
	const uint64_t odd = 2001;

	place_make(&place, "vip");
	open_writer(&writer, &place);
	for (uint64_t number = 1; number <= 3; number++) {
		section = section_of(number);
		status_publish(&writer, &section);
	}
	EXPECT(status_open_read(&reader, STATUS_VIP, place.run_dir, &why) == 0, "%s", why.text);
	/* Publication 4 goes to slot 0 and never ends. */
	overwrite(&place, AT_SEQ, &odd, sizeof(odd));
	section = section_of(99);
	overwrite(&place, AT_SEQ + 16, &section, sizeof(section) / 2);
	EXPECT(status_read(&reader, &section, &why) == 0, "%s", why.text);
	EXPECT(section.epoch == 3 && section_is_whole(&section));
	status_close(&writer);
	/* The next writer finds the last whole section, and the torn slot does not stop it. */
	open_writer(&writer, &place);
	EXPECT(status_read(&writer, &section, &why) == 0 && section.epoch == 3);
	section = section_of(4);
	status_publish(&writer, &section);
	memset(&section, 0, sizeof(section));
	EXPECT(status_read(&reader, &section, &why) == 0, "%s", why.text);
	EXPECT(section.epoch == 4 && section_is_whole(&section));
	status_close(&reader);
	status_close(&writer);
	place_remove(&place);
}

Test(status, a_slot_that_is_never_whole_is_busy_and_not_garbage)
{
	struct place place;
	struct status_map writer, reader;
	struct status_vip section = section_of(1);
	struct err why;
	const uint64_t odd = 77;

	place_make(&place, "vip");
	open_writer(&writer, &place);
	status_publish(&writer, &section);
	EXPECT(status_open_read(&reader, STATUS_VIP, place.run_dir, &why) == 0, "%s", why.text);
	overwrite(&place, AT_SEQ + 8, &odd, sizeof(odd)); /* of publication 1 */
	EXPECT(status_read(&reader, &section, &why) == ERR_BUSY);
	status_close(&reader);
	status_close(&writer);
	place_remove(&place);
}

Test(status, foreign_older_and_short_files_are_told_apart)
{
	static const struct {
		const char *what;
		off_t offset;
		uint64_t value;
		size_t size;
		int code;
	} cases[] = {
		{"foreign magic", AT_MAGIC, 0x1234, 8, ERR_CORRUPT},
		{"no magic yet", AT_MAGIC, 0, 8, ERR_NOT_FOUND},
		{"older version", AT_VERSION, 0, 4, ERR_VERSION},
		{"newer version", AT_VERSION, STATUS_VERSION + 1, 4, ERR_VERSION},
		{"another section", AT_ID, STATUS_DBMON, 4, ERR_CORRUPT},
		{"another size", AT_SIZE, 8, 8, ERR_VERSION},
	};
	struct place place;
	struct status_map writer, reader;
	struct status_vip section = section_of(1);
	struct err why;

	place_make(&place, "vip");
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		open_writer(&writer, &place);
		status_publish(&writer, &section);
		EXPECT(status_open_read(&reader, STATUS_VIP, place.run_dir, &why) == 0, "%s: %s",
		       cases[i].what, why.text);
		overwrite(&place, cases[i].offset, &cases[i].value, cases[i].size);
		/* Who has it open already, and who opens it now. */
		EXPECT(status_read(&reader, &section, &why) == ERR_VERSION, "%s", cases[i].what);
		status_close(&reader);
		EXPECT(status_open_read(&reader, STATUS_VIP, place.run_dir, &why) == cases[i].code,
		       "%s: %s", cases[i].what, why.text);
		status_close(&writer);
		/* A writer makes it new, and does not take over what it cannot read. */
		open_writer(&writer, &place);
		EXPECT(status_read(&writer, &section, &why) == ERR_NOT_FOUND, "%s", cases[i].what);
		status_close(&writer);
		section = section_of(1);
	}
	place_remove(&place);
}

Test(status, short_files_and_other_things_are_refused)
{
	struct place place;
	struct status_map map;
	struct status_vip section = section_of(1);
	struct err why;
	int pipes[2];

	place_make(&place, "vip");
	overwrite(&place, 0, "", 0);
	EXPECT(status_open_read(&map, STATUS_VIP, place.run_dir, &why) == ERR_NOT_FOUND, "empty");
	overwrite(&place, 0, "x", 1);
	EXPECT(status_open_read(&map, STATUS_VIP, place.run_dir, &why) == ERR_CORRUPT, "a byte");
	open_writer(&map, &place);
	status_publish(&map, &section);
	status_close(&map);
	EXPECT(truncate(place.path, 60) == 0);
	EXPECT(status_open_read(&map, STATUS_VIP, place.run_dir, &why) == ERR_CORRUPT, "cut");
	EXPECT(unlink(place.path) == 0 && mkdir(place.path, 0755) == 0);
	EXPECT(status_open_read(&map, STATUS_VIP, place.run_dir, &why) == ERR_CORRUPT, "folder");
	EXPECT(rmdir(place.path) == 0 && symlink("/etc/passwd", place.path) == 0);
	EXPECT(status_open_read(&map, STATUS_VIP, place.run_dir, &why) == ERR_IO, "a link");
	EXPECT(pipe(pipes) == 0);
	EXPECT(status_open_fd(&map, STATUS_VIP, pipes[1], &why) == ERR_INVALID, "a pipe");
	close(pipes[0]);
	close(pipes[1]);
	place_remove(&place);
}

struct reading {
	struct status_map map;
	atomic_bool over;
	uint64_t reads;
	uint64_t last;
	bool torn;
	bool went_back;
};

static void *read_on(void *arg)
{
	struct reading *reading = arg;
	struct status_vip section;
	struct err why;

	while (!atomic_load(&reading->over)) {
		if (status_read(&reading->map, &section, &why) < 0)
			continue;
		reading->torn = reading->torn || !section_is_whole(&section);
		reading->went_back = reading->went_back || section.epoch < reading->last;
		reading->last = section.epoch;
		reading->reads++;
	}
	return NULL;
}

Test(status, readers_of_a_busy_writer_see_whole_sections_in_order)
{
	struct place place;
	struct status_map writer;
	struct reading reading;
	struct status_vip section;
	struct err why;
	pthread_t thread;

	memset(&reading, 0, sizeof(reading));
	place_make(&place, "vip");
	open_writer(&writer, &place);
	EXPECT(status_open_read(&reading.map, STATUS_VIP, place.run_dir, &why) == 0);
	EXPECT(pthread_create(&thread, NULL, read_on, &reading) == 0);
	for (uint64_t number = 1; number <= 200000; number++) {
		section = section_of(number);
		status_publish(&writer, &section);
		if (number % 64 == 0)
			sched_yield();
	}
	atomic_store(&reading.over, true);
	pthread_join(thread, NULL);
	EXPECT(!reading.torn && !reading.went_back);
	EXPECT(status_read(&reading.map, &section, &why) == 0 && section.epoch == 200000);
	status_close(&reading.map);
	status_close(&writer);
	place_remove(&place);
}

static void publish_for_ever(const struct place *place)
{
	struct status_map writer;

	open_writer(&writer, place);
	for (uint64_t number = 1;; number++) {
		const struct status_vip section = section_of(number);

		status_publish(&writer, &section);
	}
}

Test(status, a_killed_process_never_leaves_a_torn_section)
{
	for (unsigned round = 0; round < 30; round++) {
		struct place place;
		struct status_map reader;
		struct status_vip section;
		struct err why;
		int rc = ERR_NOT_FOUND;
		pid_t pid;

		place_make(&place, "vip");
		pid = fork();
		EXPECT(pid >= 0);
		if (pid == 0)
			publish_for_ever(&place);
		/* Until it publishes, but not for ever. */
		for (unsigned turn = 0; rc != 0 && turn < 60000; turn++) {
			rc = status_open_read(&reader, STATUS_VIP, place.run_dir, &why);
			if (rc == 0 && (rc = status_read(&reader, &section, &why)) != 0)
				status_close(&reader);
			usleep(rc == 0 ? 200 + round * 7 : 1000);
		}
		EXPECT(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
		EXPECT(rc == 0, "%s", why.text);
		EXPECT(status_read(&reader, &section, &why) == 0, "%s", why.text);
		EXPECT(section_is_whole(&section));
		status_close(&reader);
		place_remove(&place);
	}
}
