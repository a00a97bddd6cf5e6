#include "access/role.h"

#include <stddef.h>
#include <string.h>

#include "base/macros.h"

static const char *const NAMES[] = {"none", "read", "operate", "admin"};

const char *role_name(enum role role)
{
	return (size_t)role < COUNT_OF(NAMES) ? NAMES[role] : NAMES[ROLE_NONE];
}

bool role_parse(const char *text, enum role *role)
{
	for (unsigned i = ROLE_READ; i < COUNT_OF(NAMES); i++) {
		if (strcmp(text, NAMES[i]) == 0) {
			*role = (enum role)i;
			return true;
		}
	}
	return false;
}
