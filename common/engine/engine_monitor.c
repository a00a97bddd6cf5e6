#include <string.h>

#include "base/macros.h"
#include "engine/engine.h"

extern const struct engine_monitor_ops PG_MONITOR;

static const struct {
	const char *name;
	const struct engine_monitor_ops *ops;
} ENGINES[] = {
	{"postgresql", &PG_MONITOR},
};

const struct engine_monitor_ops *engine_monitor_find(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(ENGINES); i++) {
		if (strcmp(ENGINES[i].name, name) == 0)
			return ENGINES[i].ops;
	}
	return NULL;
}
