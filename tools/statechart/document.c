#include "document.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/agent.h"

#define MARK_BEGIN "<!-- leader table: begin, written by tools/statechart -->\n"
#define MARK_END   "<!-- leader table: end -->\n"

/* "bootstrap/over" -> "over" */
static const char *short_name(const char *name)
{
	const char *slash = strchr(name, '/');

	return slash == NULL ? name : slash + 1;
}

void document_table(FILE *to)
{
	(void)fprintf(to, "| # | phase | row | next phase | why |\n|--:|---|---|---|---|\n");
	for (unsigned i = 0; i < leader_rule_count(); i++) {
		struct leader_rule_info rule = leader_rule(i);
		bool first = i == 0 || leader_rule(i - 1).phase != rule.phase;

		(void)fprintf(to, "| %u | %s | `%s` | %s | %s |\n", i + 1,
			      first ? leader_phase_name(rule.phase) : "", short_name(rule.name),
			      rule.next == rule.phase ? "" : leader_phase_name(rule.next),
			      rule.why);
	}
}

void document_dot(FILE *to)
{
	(void)fprintf(to, "digraph leader {\n\tnode [shape=box, style=rounded];\n");
	for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
		(void)fprintf(to, "\t%s;\n", leader_phase_name(phase));
	for (unsigned i = 0; i < leader_rule_count(); i++) {
		struct leader_rule_info rule = leader_rule(i);

		if (rule.phase != rule.next)
			(void)fprintf(to, "\t%s -> %s [label=\"%s\"];\n",
				      leader_phase_name(rule.phase), leader_phase_name(rule.next),
				      short_name(rule.name));
	}
	(void)fprintf(to, "}\n");
}

char *document_printed(void (*print)(FILE *to))
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	if (to == NULL)
		return NULL;
	print(to);
	if (fclose(to) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

char *document_read(const char *path, struct err *why)
{
	FILE *from = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	if (from == NULL) {
		(void)err_set_errno(why, ERR_IO, errno, "open %s", path);
		return NULL;
	}
	if (getdelim(&text, &size, '\0', from) < 0) {
		(void)err_set(why, ERR_IO, "read %s: it is empty or cannot be read", path);
		free(text);
		text = NULL;
	}
	(void)fclose(from);
	return text;
}

int document_write(const char *path, const char *text, struct err *why)
{
	FILE *to = fopen(path, "w");

	if (to == NULL)
		return err_set_errno(why, ERR_IO, errno, "open %s for writing", path);
	if (fputs(text, to) < 0) {
		(void)fclose(to);
		return err_set(why, ERR_IO, "write %s", path);
	}
	if (fclose(to) != 0)
		return err_set_errno(why, ERR_IO, errno, "write %s", path);
	return 0;
}

char *document_with_table(const char *text, const char *table, struct err *why)
{
	const char *begin = strstr(text, MARK_BEGIN);
	const char *end = begin == NULL ? NULL : strstr(begin, MARK_END);
	size_t size;
	char *whole;

	if (end == NULL) {
		(void)err_set(why, ERR_NOT_FOUND, "no lines %.*s and %.*s in the document",
			      (int)strlen(MARK_BEGIN) - 1, MARK_BEGIN, (int)strlen(MARK_END) - 1,
			      MARK_END);
		return NULL;
	}
	begin += strlen(MARK_BEGIN);
	size = (size_t)(begin - text) + strlen(table) + strlen(end) + 1;
	whole = malloc(size);
	if (whole == NULL) {
		(void)err_set(why, ERR_NO_MEMORY, "%zu bytes for the document", size);
		return NULL;
	}
	(void)snprintf(whole, size, "%.*s%s%s", (int)(begin - text), text, table, end);
	return whole;
}
