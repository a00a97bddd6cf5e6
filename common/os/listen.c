#include "os/listen.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int split_address(const char *text, char host[64], char port[8], struct err *why)
{
	const char *colon = strrchr(text, ':');
	size_t length = colon != NULL ? (size_t)(colon - text) : 0;

	if (colon == NULL || length == 0 || length >= 64 || strlen(colon + 1) == 0 ||
	    strlen(colon + 1) >= 8)
		return err_set(why, ERR_INVALID, "'%s': address:port is wanted", text);
	if (text[0] == '[' && length > 2 && text[length - 1] == ']') {
		text++;
		length -= 2;
	}
	memcpy(host, text, length);
	host[length] = '\0';
	memcpy(port, colon + 1, strlen(colon + 1) + 1);
	return 0;
}

static int bind_listen(int fd, const struct addrinfo *at, int backlog, bool both)
{
	const int on = 1, only = !both;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -1;
	if (at->ai_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) < 0)
		return -1;
	return bind(fd, at->ai_addr, at->ai_addrlen) < 0 ? -1 : listen(fd, backlog);
}

int listen_tcp(const char *address, int backlog, bool both, struct err *why)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				       .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char host[64], port[8];
	int rc, fd;

	if ((rc = split_address(address, host, port, why)) < 0)
		return rc;
	if ((rc = getaddrinfo(host, port, &hints, &found)) != 0)
		return err_set(why, ERR_INVALID, "'%s': %s (an IP address and a port number)",
			       address, gai_strerror(rc));
	rc = 0;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind_listen(fd, found, backlog, both) < 0)
		rc = err_set_errno(why, ERR_IO, errno, "listen at %s", address);
	freeaddrinfo(found);
	if (rc == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return rc;
}
