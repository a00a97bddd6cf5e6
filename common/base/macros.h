/* Small macros for tables, checks and declarations; nothing with behaviour of its own. */
#ifndef MHA_BASE_MACROS_H
#define MHA_BASE_MACROS_H

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define MUST_CHECK      __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_index)                                                     \
	__attribute__((format(printf, format_index, first_index)))
#define UNUSED(x) ((void)(x))

#endif
