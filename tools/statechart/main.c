/*
 * statechart: the program's own tables, for the documents.
 *
 *   statechart --markdown | --svg | --dot        print it
 *   statechart --options                         print the configuration's keys (tools/diagrams)
 *   statechart --update DOCUMENT PICTURE         put it into both files
 *   statechart --check DOCUMENT PICTURE          fail when they show another one
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "document.h"
#include "options.h"
#include "picture.h"

struct output {
	const char *path;
	char *present;
	char *wanted;
};

static int usage(void)
{
	(void)fprintf(stderr, "usage: statechart --markdown | --svg | --dot | --options\n"
			      "       statechart --update | --check DOCUMENT PICTURE\n");
	return 2;
}

static int prepare(struct output *document, struct output *picture, struct err *why)
{
	char *table = document_printed(document_table);

	picture->wanted = document_printed(picture_svg);
	document->present = document_read(document->path, why);
	if (table == NULL || picture->wanted == NULL) {
		free(table);
		return err_set(why, ERR_NO_MEMORY, "no memory for the table");
	}
	if (document->present != NULL)
		document->wanted = document_with_table(document->present, table, why);
	free(table);
	return document->wanted == NULL ? err_in(why, why->code, "%s", document->path) : 0;
}

static bool is_current(const struct output *output)
{
	return output->present != NULL && strcmp(output->present, output->wanted) == 0;
}

static int check(struct output *outputs, unsigned count, struct err *why)
{
	for (unsigned i = 0; i < count; i++)
		if (!is_current(&outputs[i]))
			return err_set(why, ERR_STALE,
				       "%s shows another table: run statechart --update %s %s",
				       outputs[i].path, outputs[0].path, outputs[1].path);
	return 0;
}

static int update(struct output *outputs, unsigned count, struct err *why)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < count; i++)
		if (!is_current(&outputs[i]))
			rc = document_write(outputs[i].path, outputs[i].wanted, why);
	return rc;
}

static int work(bool write, const char *document, const char *picture)
{
	struct output outputs[2] = {{.path = document}, {.path = picture}};
	struct err why = {0};
	struct err ignored = {0};
	int rc = prepare(&outputs[0], &outputs[1], &why);

	if (rc == 0) {
		/* A picture that is not there yet is one that has to be written. */
		outputs[1].present = document_read(picture, &ignored);
		rc = write ? update(outputs, 2, &why) : check(outputs, 2, &why);
	}
	if (rc != 0)
		(void)fprintf(stderr, "statechart: %s\n", why.text);
	for (unsigned i = 0; i < 2; i++) {
		free(outputs[i].present);
		free(outputs[i].wanted);
	}
	return rc == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(FILE *to);
	} prints[] = {
		{"--markdown", document_table},
		{"--svg", picture_svg},
		{"--dot", document_dot},
		{"--options", options_markdown},
	};

	for (unsigned i = 0; argc == 2 && i < COUNT_OF(prints); i++)
		if (strcmp(argv[1], prints[i].name) == 0) {
			prints[i].print(stdout);
			return fflush(stdout) == 0 ? 0 : 1;
		}
	if (argc != 4 || (strcmp(argv[1], "--check") != 0 && strcmp(argv[1], "--update") != 0))
		return usage();
	return work(strcmp(argv[1], "--update") == 0, argv[2], argv[3]);
}
