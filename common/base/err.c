#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

static const char *const ERR_NAMES[ERR_CODE_COUNT] = {
	"ok",         "invalid", "not_found", "exists",      "io",    "no_memory",
	"permission", "timeout", "too_big",   "not_allowed", "stale", "corrupt",
	"version",    "busy",    "refused",   "gone",
};

const char *err_name(int code)
{
	if (code > 0 || code <= -ERR_CODE_COUNT)
		return "unknown";
	return ERR_NAMES[-code];
}

static void err_write(struct err *why, int code, const char *format, va_list args)
	PRINTF_LIKE(3, 0);

static void err_write(struct err *why, int code, const char *format, va_list args)
{
	why->code = code;
	if (vsnprintf(why->text, sizeof(why->text), format, args) < 0)
		why->text[0] = '\0';
}

static void err_append(struct err *why, const char *text)
{
	size_t used = strlen(why->text);

	CHECK(used < sizeof(why->text));
	if (snprintf(why->text + used, sizeof(why->text) - used, "%s", text) < 0)
		why->text[used] = '\0';
}

int err_set(struct err *why, int code, const char *format, ...)
{
	if (why != NULL) {
		va_list args;

		va_start(args, format);
		err_write(why, code, format, args);
		va_end(args);
	}
	return code;
}

int err_set_errno(struct err *why, int code, int errnum, const char *format, ...)
{
	if (code == ERR_IO && (errnum == ENOMEM || errnum == EMFILE || errnum == ENFILE))
		code = ERR_NO_MEMORY;
	if (why != NULL) {
		char reason[128];
		va_list args;

		va_start(args, format);
		err_write(why, code, format, args);
		va_end(args);
		err_append(why, ": ");
		err_append(why, strerror_r(errnum, reason, sizeof(reason)));
	}
	return code;
}

int err_in(struct err *why, int code, const char *format, ...)
{
	if (why != NULL) {
		struct err inner = *why;
		va_list args;

		va_start(args, format);
		err_write(why, code, format, args);
		va_end(args);
		err_append(why, ": ");
		err_append(why, inner.text);
	}
	return code;
}
