#include "engine/pg_stopped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"

/* 2,000 children of seven digits each. */
#define CHILDREN_SIZE 16384

/* A whole small file, with a final NUL. False: it cannot be read, or is empty. */
static bool read_text(const char *path, char *text, size_t size)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t got;

	if (fd < 0)
		return false;
	while (used + 1 < size &&
	       ((got = read(fd, text + used, size - 1 - used)) > 0 || (got < 0 && errno == EINTR)))
		used += got > 0 ? (size_t)got : 0;
	close(fd);
	text[used] = '\0';
	return used > 0;
}

/* The name in the parentheses may itself contain anything. */
char pg_stopped_state(const char *stat_line)
{
	const char *name_end = strrchr(stat_line, ')');

	return name_end != NULL && name_end[1] == ' ' ? name_end[2] : '\0';
}

static bool is_stopped(pid_t pid)
{
	char path[64], line[512];
	char state;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (!read_text(path, line, sizeof(line)))
		return false;
	state = pg_stopped_state(line);
	return state == 'T' || state == 't';
}

static bool begins_with_word(const char *text, const char *word)
{
	const size_t length = strlen(word);

	return strncmp(text, word, length) == 0 && (text[length] == '\0' || text[length] == ' ');
}

uint8_t pg_stopped_name(const char *title)
{
	static const struct {
		const char *word;
		uint8_t fault;
	} names[] = {
		{"checkpointer", FAULT_CHECKPOINTER_STOPPED},
		{"walwriter", FAULT_WALWRITER_STOPPED},
		{"startup", FAULT_STARTUP_STOPPED},
		{"walreceiver", FAULT_RECEIVER_STOPPED},
		{"walsender", FAULT_SENDER_STOPPED},
	};
	const char *name, *cluster_end;

	if (strncmp(title, "postgres: ", 10) != 0)
		return FAULT_PROCESS_STOPPED;
	name = title + 10;
	/* cluster_name comes first, with a colon. */
	cluster_end = strstr(name, ": ");
	if (cluster_end != NULL)
		name = cluster_end + 2;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		if (begins_with_word(name, names[i].word))
			return names[i].fault;
	}
	return FAULT_PROCESS_STOPPED;
}

static uint8_t name_of(pid_t pid)
{
	char path[64], title[512];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	return read_text(path, title, sizeof(title)) ? pg_stopped_name(title)
						     : FAULT_PROCESS_STOPPED;
}

/* `file` of the group that /proc/PID/cgroup names after `mark`, below `root`, says `word`. */
static bool group_says(const char *groups, const char *mark, const char *root, const char *file,
		       const char *word)
{
	char path[4352], text[512];
	const char *group = strstr(groups, mark);

	if (group == NULL)
		return false;
	group += strlen(mark);
	snprintf(path, sizeof(path), "%s%.*s/%s", root, (int)strcspn(group, "\n"), group, file);
	return read_text(path, text, sizeof(text)) && strstr(text, word) != NULL;
}

/* Processes of a frozen control group (version 2, alone or beside version 1) look asleep. */
static bool group_is_frozen(pid_t pid)
{
	char path[64], groups[4096];

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	if (!read_text(path, groups, sizeof(groups)))
		return false;
	return group_says(groups, "0::", "/sys/fs/cgroup", "cgroup.events", "frozen 1") ||
	       group_says(groups, "0::", "/sys/fs/cgroup/unified", "cgroup.events", "frozen 1") ||
	       group_says(groups, ":freezer:", "/sys/fs/cgroup/freezer", "freezer.state", "FROZEN");
}

/* Which of two matters more: the one that stands earlier in enum db_fault. */
static void note(struct pg_stopped *found, uint8_t fault, pid_t pid)
{
	if (found->fault != FAULT_NONE && found->fault <= fault)
		return;
	found->fault = fault;
	found->pid = pid;
}

void pg_stopped_look(pid_t postmaster, struct pg_stopped *found)
{
	char path[64], children[CHILDREN_SIZE];
	const bool stopped = is_stopped(postmaster);
	bool all = true;

	*found = (struct pg_stopped){.fault = FAULT_NONE};
	if (group_is_frozen(postmaster)) {
		note(found, FAULT_FROZEN, postmaster);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)postmaster, (int)postmaster);
	if (!read_text(path, children, sizeof(children)))
		children[0] = '\0';
	if (children[0] == '\0')
		all = false;
	for (char *at = children, *end; *at != '\0'; at = end) {
		const long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		if (pid <= 0 || pid > INT32_MAX || !is_stopped((pid_t)pid))
			all = false;
		else if (!stopped)
			note(found, name_of((pid_t)pid), (pid_t)pid);
		while (*end == ' ')
			end++;
	}
	if (stopped)
		note(found, all ? FAULT_FROZEN : FAULT_POSTMASTER_STOPPED, postmaster);
}
