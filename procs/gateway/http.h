/* The HTTP server: libmicrohttpd inside the worker's loop. */
#ifndef MHA_GATEWAY_HTTP_H
#define MHA_GATEWAY_HTTP_H

#include "gateway/gateway.h"

/* Listen at http.listen ("address:port"). */
MUST_CHECK int http_open(struct http **http, struct gateway *gateway, struct err *why);
/* NULL is fine. To be called after the loop has stopped. */
void http_close(struct http *http);
/* To be called about every second: ends connections that completed no request for too long. */
void http_drop_idle(struct http *http);

#endif
