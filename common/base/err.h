/*
 * What went wrong, for a program (a negative code) and for a person (a sentence that
 * each layer prefixes with what it was trying to do). Logged once, by whoever decides
 * what to do about it.
 */
#ifndef MHA_BASE_ERR_H
#define MHA_BASE_ERR_H

#include "base/macros.h"

#define ERR_TEXT_SIZE 512

enum err_code {
	ERR_OK = 0,
	ERR_INVALID = -1,     /* the input makes no sense; repeating will not help */
	ERR_NOT_FOUND = -2,   /* the thing named does not exist */
	ERR_EXISTS = -3,      /* it exists already */
	ERR_IO = -4,          /* the operating system refused; errno is in the text */
	ERR_NO_MEMORY = -5,   /* or no descriptor, or no process: it may come off the next time */
	ERR_PERM = -6,        /* a right or capability is missing */
	ERR_TIMEOUT = -7,     /* the deadline passed; the outcome is not known */
	ERR_TOO_BIG = -8,     /* a bound would be exceeded */
	ERR_NOT_ALLOWED = -9, /* forbidden by a route, a role or an epoch */
	ERR_STALE = -10,      /* older epoch or term than what was seen */
	ERR_CORRUPT = -11,    /* stored or received bytes are damaged */
	ERR_VERSION = -12,    /* another format or protocol version */
	ERR_BUSY = -13,       /* try again later */
	ERR_REFUSED = -14,    /* a precondition does not hold */
	ERR_GONE = -15,       /* the other side went away */
	ERR_CODE_COUNT = 16
};

struct err {
	int code; /* enum err_code */
	char text[ERR_TEXT_SIZE];
};

/* "timeout", "refused", ...: stable, for logs and JSON. Never NULL. */
const char *err_name(int code);

/*
 * Set `why` (may be NULL) to `code` and the formatted sentence. Returns `code`, so that
 * a function can end in `return err_set(why, ERR_IO, ...)`.
 */
int err_set(struct err *why, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/*
 * The same with ": strerror(errnum)" appended. ERR_IO becomes ERR_NO_MEMORY when `errnum` says that
 * memory or descriptors are missing.
 */
int err_set_errno(struct err *why, int code, int errnum, const char *format, ...) PRINTF_LIKE(4, 5);

/* Prefix "context: " to what `why` (may be NULL) holds. Returns `code`. */
int err_in(struct err *why, int code, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
