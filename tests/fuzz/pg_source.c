/* Lines of psql about the source of a rewind or a clone, and what is concluded from them. */
#include "engine/pg_source.h"
#include "base/check.h"
#include "fuzz.h"
#include "text.h"

static void take(void *arg, const char *line)
{
	pg_source_line(arg, line);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct pg_source source;
	struct wal_position ours = {
		.timeline = 3, .branch_count = 2, .branches = {{1, 100}, {2, 200}}};
	struct err why = {0};

	pg_source_init(&source);
	fuzz_lines(bytes, size, take, &source);
	CHECK(source.position.branch_count <= WAL_HISTORY_MAX);
	if (pg_source_end(&source, &why) < 0) {
		CHECK(why.text[0] != '\0');
		return 0;
	}
	CHECK(source.position.branch_count <= WAL_HISTORY_MAX);
	if (pg_source_check_rewind(&source, "mha_replication", &why) < 0)
		CHECK(why.text[0] != '\0');
	if (pg_source_check_clone(&source, &why) < 0)
		CHECK(why.text[0] != '\0');
	(void)pg_fork_find(&ours, &source.position);
	(void)pg_fork_find(&source.position, &ours);
	return 0;
}
