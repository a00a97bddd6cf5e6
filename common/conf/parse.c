/* YAML to struct conf. Two levels of keys, one list of maps; anything else is refused by line. */
#include <string.h>

#include <yaml.h>

#include "base/check.h"
#include "base/text.h"
#include "conf/option.h"

#define MEMBERS_KEY "members"

struct reader {
	yaml_document_t document;
	struct conf *conf;
	struct conf_source *source;
	struct err *why;
};

static unsigned line_of(const yaml_node_t *node)
{
	return (unsigned)node->start_mark.line + 1;
}

static yaml_node_t *node_at(struct reader *reader, int index)
{
	yaml_node_t *node = yaml_document_get_node(&reader->document, index);

	CHECK(node != NULL);
	return node;
}

/*
 * The text of a scalar, or NULL after an error. Control characters are refused everywhere: values
 * end up in log lines, SQL settings and pg_hba.conf.
 */
static const char *scalar_text(struct reader *reader, const yaml_node_t *node, const char *key)
{
	const char *text;
	size_t length;

	if (node->type != YAML_SCALAR_NODE) {
		(void)conf_refuse(reader->source, line_of(node), key, reader->why,
				  "one value is expected here, not a %s",
				  node->type == YAML_MAPPING_NODE ? "map" : "list");
		return NULL;
	}
	text = (const char *)node->data.scalar.value;
	length = node->data.scalar.length;
	if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	    (length == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0)) {
		(void)conf_refuse(reader->source, line_of(node), key, reader->why,
				  "no value is given; write \"\" for an empty one");
		return NULL;
	}
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 127) {
			(void)conf_refuse(reader->source, line_of(node), key, reader->why,
					  "holds a control character (byte %u)",
					  (unsigned)(unsigned char)text[i]);
			return NULL;
		}
	}
	return text;
}

/* A key is quoted in errors: short, and free of what could confuse a terminal. */
static const char *key_text(struct reader *reader, const yaml_node_t *node, const char *within)
{
	const char *text = scalar_text(reader, node, within);

	if (text != NULL && strlen(text) >= 64) {
		(void)conf_refuse(reader->source, line_of(node), within, reader->why,
				  "a key of %zu characters", strlen(text));
		return NULL;
	}
	return text;
}

static int expect_map(struct reader *reader, const yaml_node_t *node, const char *key)
{
	if (node->type == YAML_MAPPING_NODE)
		return 0;
	return conf_refuse(reader->source, line_of(node), key, reader->why,
			   "a map (key: value) is expected here");
}

static int read_pairs(struct reader *reader, const struct option *option, const yaml_node_t *node)
{
	struct conf_pair *pairs =
		(struct conf_pair *)(void *)((char *)reader->conf + option->offset);
	unsigned count = 0;

	if (expect_map(reader, node, option->key) < 0)
		return ERR_INVALID;
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = node_at(reader, pair->key);
		const char *name = key_text(reader, key, option->key);
		const char *value;

		if (name == NULL)
			return ERR_INVALID;
		for (unsigned i = 0; i < count; i++) {
			if (strcmp(pairs[i].name, name) == 0)
				return conf_refuse(reader->source, line_of(key), option->key,
						   reader->why, "%s is given twice", name);
		}
		if (count == CONF_PAIRS_MAX)
			return conf_refuse(reader->source, line_of(key), option->key, reader->why,
					   "more than %d entries", CONF_PAIRS_MAX);
		value = scalar_text(reader, node_at(reader, pair->value), option->key);
		if (value == NULL)
			return ERR_INVALID;
		if (!text_copy(pairs[count].name, sizeof(pairs[count].name), name) ||
		    !text_copy(pairs[count].value, sizeof(pairs[count].value), value))
			return conf_refuse(reader->source, line_of(key), option->key, reader->why,
					   "the value of %s is longer than %zu characters", name,
					   sizeof(pairs[count].value) - 1);
		count++;
	}
	memcpy((char *)reader->conf + option->count_offset, &count, sizeof(count));
	return 0;
}

static int read_lines(struct reader *reader, const struct option *option, const yaml_node_t *node)
{
	char *lines = (char *)reader->conf + option->offset;
	unsigned count = 0;

	if (node->type != YAML_SEQUENCE_NODE)
		return conf_refuse(reader->source, line_of(node), option->key, reader->why,
				   "a list (- line) is expected here");
	for (yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++) {
		const yaml_node_t *line = node_at(reader, *item);
		const char *text = scalar_text(reader, line, option->key);

		if (text == NULL)
			return ERR_INVALID;
		if (count == CONF_LINES_MAX)
			return conf_refuse(reader->source, line_of(line), option->key, reader->why,
					   "more than %d lines", CONF_LINES_MAX);
		if (!text_copy(lines + (size_t)count * CONF_PAIR_SIZE, CONF_PAIR_SIZE, text))
			return conf_refuse(reader->source, line_of(line), option->key, reader->why,
					   "a line longer than %d characters", CONF_PAIR_SIZE - 1);
		count++;
	}
	memcpy((char *)reader->conf + option->count_offset, &count, sizeof(count));
	return 0;
}

static int read_value(struct reader *reader, const struct option *option, void *record,
		      const yaml_node_t *node)
{
	const char *text;
	char reason[256];

	if (option->kind == OPTION_PAIRS)
		return read_pairs(reader, option, node);
	if (option->kind == OPTION_LINES)
		return read_lines(reader, option, node);
	text = scalar_text(reader, node, option->key);
	if (text == NULL)
		return ERR_INVALID;
	if (!option_set(option, record, text, reason, sizeof(reason)))
		return conf_refuse(reader->source, line_of(node), option->key, reader->why, "%s",
				   reason);
	return 0;
}

static int find_option(const struct option *options, unsigned count, const char *key)
{
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(options[i].key, key) == 0)
			return (int)i;
	}
	return -1;
}

/* One value of `options` into `record`; `line` remembers where, and catches duplicates. */
static int read_option(struct reader *reader, const struct option *options, unsigned count,
		       const char *key, const yaml_node_t *at, const yaml_node_t *value,
		       unsigned *lines, void *record)
{
	const int row = find_option(options, count, key);

	if (row < 0)
		return conf_refuse(reader->source, line_of(at), key, reader->why, "unknown key");
	if (lines[row] != 0)
		return conf_refuse(reader->source, line_of(at), key, reader->why,
				   "is given twice, first in line %u", lines[row]);
	lines[row] = line_of(at);
	return read_value(reader, &options[row], record, value);
}

static int read_section(struct reader *reader, const char *section, const yaml_node_t *node)
{
	char key[160];
	int rc;

	if (expect_map(reader, node, section) < 0)
		return ERR_INVALID;
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *at = node_at(reader, pair->key);
		const char *name = key_text(reader, at, section);

		if (name == NULL)
			return ERR_INVALID;
		snprintf(key, sizeof(key), "%s.%s", section, name);
		rc = read_option(reader, OPTIONS, OPTION_COUNT, key, at,
				 node_at(reader, pair->value), reader->source->line, reader->conf);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_member_options(struct reader *reader, const yaml_node_t *node, unsigned index)
{
	struct conf_source *source = reader->source;

	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *at = node_at(reader, pair->key);
		const char *name = key_text(reader, at, "key");
		int rc;

		if (name == NULL)
			return ERR_INVALID;
		rc = read_option(reader, MEMBER_OPTIONS, MEMBER_OPTION_COUNT, name, at,
				 node_at(reader, pair->value), source->member_key_line[index],
				 &reader->conf->members[index]);
		if (rc < 0)
			return rc;
	}
	for (unsigned i = 0; i < MEMBER_OPTION_COUNT; i++) {
		if (option_is_required(&MEMBER_OPTIONS[i]) &&
		    source->member_key_line[index][i] == 0)
			return conf_refuse(source, line_of(node), MEMBER_OPTIONS[i].key,
					   reader->why, "is required and missing (%s)",
					   MEMBER_OPTIONS[i].description);
	}
	return 0;
}

static int read_member(struct reader *reader, const yaml_node_t *node)
{
	struct conf_source *source = reader->source;
	const unsigned index = reader->conf->member_count;
	int rc;

	if (index == CONF_MEMBERS_MAX)
		return conf_refuse(source, line_of(node), MEMBERS_KEY, reader->why,
				   "more than %d members", CONF_MEMBERS_MAX);
	if (expect_map(reader, node, MEMBERS_KEY) < 0)
		return ERR_INVALID;
	reader->conf->member_count++;
	source->member_line[index] = line_of(node);
	for (unsigned i = 0; i < MEMBER_OPTION_COUNT; i++)
		option_set_default(&MEMBER_OPTIONS[i], &reader->conf->members[index]);
	snprintf(source->within, sizeof(source->within), MEMBERS_KEY "[%u].", index);
	rc = read_member_options(reader, node, index);
	source->within[0] = '\0';
	return rc;
}

static int read_members(struct reader *reader, const yaml_node_t *at, const yaml_node_t *node)
{
	if (reader->source->members_line != 0)
		return conf_refuse(reader->source, line_of(at), MEMBERS_KEY, reader->why,
				   "is given twice, first in line %u",
				   reader->source->members_line);
	reader->source->members_line = line_of(at);
	if (node->type != YAML_SEQUENCE_NODE)
		return conf_refuse(reader->source, line_of(node), MEMBERS_KEY, reader->why,
				   "a list of members (- name: ...) is expected here");
	for (yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++) {
		const int rc = read_member(reader, node_at(reader, *item));

		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool is_section(const char *name)
{
	const size_t length = strlen(name);

	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		if (strncmp(OPTIONS[i].key, name, length) == 0 && OPTIONS[i].key[length] == '.')
			return true;
	}
	return false;
}

static int read_root(struct reader *reader, const yaml_node_t *root)
{
	const char *seen[OPTION_COUNT];
	unsigned seen_count = 0;
	int rc;

	for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
	     pair < root->data.mapping.pairs.top; pair++) {
		const yaml_node_t *at = node_at(reader, pair->key);
		const yaml_node_t *value = node_at(reader, pair->value);
		const char *name = key_text(reader, at, "top level");

		if (name == NULL)
			return ERR_INVALID;
		if (strcmp(name, MEMBERS_KEY) == 0) {
			rc = read_members(reader, at, value);
		} else if (is_section(name)) {
			for (unsigned i = 0; i < seen_count; i++) {
				if (strcmp(seen[i], name) == 0)
					return conf_refuse(reader->source, line_of(at), name,
							   reader->why, "is given twice");
			}
			seen[seen_count++] = name;
			rc = read_section(reader, name, value);
		} else {
			rc = conf_refuse(reader->source, line_of(at), name, reader->why,
					 "unknown key");
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_document(struct reader *reader)
{
	const yaml_node_t *root = yaml_document_get_root_node(&reader->document);
	int rc;

	for (unsigned i = 0; i < OPTION_COUNT; i++)
		option_set_default(&OPTIONS[i], reader->conf);
	if (root == NULL)
		return err_set(reader->why, ERR_INVALID, "%s: the file is empty",
			       reader->source->name);
	if (expect_map(reader, root, "top level") < 0)
		return ERR_INVALID;
	rc = read_root(reader, root);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		if (option_is_required(&OPTIONS[i]) && reader->source->line[i] == 0)
			return conf_refuse(reader->source, 0, OPTIONS[i].key, reader->why,
					   "is required and missing (%s)", OPTIONS[i].description);
	}
	return 0;
}

static int syntax_error(const struct conf_source *source, const yaml_parser_t *parser,
			struct err *why)
{
	const char *problem = parser->problem != NULL ? parser->problem : "out of memory";

	if (parser->error == YAML_MEMORY_ERROR)
		return err_set(why, ERR_NO_MEMORY, "%s: out of memory", source->name);
	if (parser->error == YAML_READER_ERROR)
		return err_set(why, ERR_INVALID, "%s: byte %zu: %s", source->name,
			       parser->problem_offset, problem);
	return err_set(why, ERR_INVALID, "%s:%zu: no valid YAML: %s%s%s", source->name,
		       parser->problem_mark.line + 1, problem, parser->context != NULL ? ", " : "",
		       parser->context != NULL ? parser->context : "");
}

/* A second document after "---" would be ignored silently; it is refused. */
static int refuse_second(const struct conf_source *source, yaml_parser_t *parser, struct err *why)
{
	yaml_document_t second;
	const yaml_node_t *root;
	int rc = 0;

	if (!yaml_parser_load(parser, &second))
		return syntax_error(source, parser, why);
	root = yaml_document_get_root_node(&second);
	if (root != NULL)
		rc = err_set(why, ERR_INVALID, "%s:%u: a second document (---) is not allowed",
			     source->name, line_of(root));
	yaml_document_delete(&second);
	return rc;
}

int conf_parse(struct conf *conf, struct conf_source *source, const char *text, size_t size,
	       struct err *why)
{
	struct reader reader = {.conf = conf, .source = source, .why = why};
	yaml_parser_t parser;
	int rc;

	if (!yaml_parser_initialize(&parser))
		return err_set(why, ERR_NO_MEMORY, "%s: out of memory", source->name);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
	if (!yaml_parser_load(&parser, &reader.document)) {
		rc = syntax_error(source, &parser, why);
		yaml_parser_delete(&parser);
		return rc;
	}
	rc = read_document(&reader);
	if (rc == 0 && yaml_document_get_root_node(&reader.document) != NULL)
		rc = refuse_second(source, &parser, why);
	yaml_document_delete(&reader.document);
	yaml_parser_delete(&parser);
	return rc;
}
