#include <string.h>

#include "engine/engine.h"

extern const struct engine_control_ops PG_CONTROL;

static const struct {
	const char *name;
	const struct engine_control_ops *ops;
} ENGINES[] = {
	{"postgresql", &PG_CONTROL},
};

const char *engine_directory_name(unsigned directory)
{
	static const char *const names[DIRECTORY_COUNT] = {"unknown", "absent", "present",
							   "broken"};

	return directory < DIRECTORY_COUNT ? names[directory] : "invalid";
}

const struct engine_control_ops *engine_control_find(const char *name)
{
	for (size_t i = 0; i < sizeof(ENGINES) / sizeof(ENGINES[0]); i++) {
		if (strcmp(ENGINES[i].name, name) == 0)
			return ENGINES[i].ops;
	}
	return NULL;
}
