/* Certificates of the HTTP interface and of its clients. */
#ifndef MHA_GATEWAY_TLS_H
#define MHA_GATEWAY_TLS_H

#include <microhttpd.h>
#include <stdbool.h>

#include "access/bundle.h"

/* TLS 1.2 and 1.3, as the library's maintainers judge ciphers. */
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* The parts fit together (none at all is fine). ERR_INVALID names the option. */
MUST_CHECK int tls_check(const struct bundle *files, struct err *why);

/*
 * The common name of the certificate that this client has proven, signed by http.tls_client_ca_file
 * and valid now. False: there is none.
 */
bool tls_client_name(struct MHD_Connection *connection, char *name, size_t size);

#endif
