#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void check_failed(const char *condition, const char *file, int line)
{
	char text[512];
	int length =
		snprintf(text, sizeof(text), "check failed: %s at %s:%d\n", condition, file, line);

	if (length > 0) {
		size_t size = (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;

		if (write(STDERR_FILENO, text, size) < 0) {
			/* Nothing is left to tell it to; the core file has it. */
		}
	}
	abort();
}
