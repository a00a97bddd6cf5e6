/* The HTTP server: libmicrohttpd inside the worker's loop. */
#ifndef MHA_GATEWAY_HTTP_H
#define MHA_GATEWAY_HTTP_H

#include "core/call.h"
#include "gateway/gateway.h"

/* Listen at http.listen ("address:port"). */
MUST_CHECK int http_open(struct http **http, struct gateway *gateway, struct err *why);
/* NULL is fine. To be called after the loop has stopped. */
void http_close(struct http *http);
/* gateway->access has changed: other certificates and users count. ERR_IO: it serves no more. */
MUST_CHECK int http_reload(struct http *http, struct err *why);
/* The master's word about a reload that was asked for. NULL is fine. */
void http_reloaded(struct http *http, int code);
/* The end of a call; false: it was none of these. NULL is fine. */
bool http_call_end(struct http *http, const struct call_result *result);
/* Something may have changed that a client waits for, or its time is up. NULL is fine. */
void http_look(struct http *http);
/* To be called about every second: ends connections that completed no request for too long. */
void http_drop_idle(struct http *http);

#endif
