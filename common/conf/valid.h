/* Is this text what it should be? Predicates on one value. Internal to common/conf. */
#ifndef MHA_CONF_VALID_H
#define MHA_CONF_VALID_H

#include <stdbool.h>
#include <stddef.h>

/* The file systems, ipc endpoints and PostgreSQL settings where paths end up take these as they
 * are. */
bool valid_path(const char *text);
/* `path` is `folder` or inside it. Both valid_path(). */
bool path_is_within(const char *path, const char *folder);
bool valid_uuid(const char *text);
/* A unicast IP address. */
bool valid_address(const char *text);
/* Both valid_address(): the same address, however it is written. */
bool same_address(const char *a, const char *b);
/* "address/prefix". `address` (64 bytes) receives the part before the slash. */
bool valid_prefix(const char *text, char address[static 64]);
/* "1.2.3.4:80" or "[::1]:80"; the unspecified address is allowed. */
bool valid_listen(const char *text);
/* "tcp://" and valid_listen(). */
bool valid_endpoint(const char *text);
bool valid_interface(const char *text);
/* [a-z_][a-z0-9_]* up to `max`: an SQL role or a setting that needs no quotes. */
bool valid_identifier(const char *text, size_t max);
/* [a-z_][a-z0-9_-]* up to `max`. */
bool valid_os_user(const char *text, size_t max);
/* valid_path(), or "credential:" and the name of a file in $CREDENTIALS_DIRECTORY. */
bool valid_secret_path(const char *text);

#endif
