#include "conf/valid.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

bool valid_path(const char *text)
{
	const char *part = text;

	if (text[0] != '/' || text[1] == '\0')
		return false;
	if (text[strspn(text, LOWER UPPER DIGITS "/._+@:,=-")] != '\0')
		return false;
	while (part != NULL) { /* no empty part, no "." and no ".." */
		const size_t length = strcspn(part + 1, "/");

		if (length == 0 || (length == 1 && part[1] == '.') ||
		    (length == 2 && part[1] == '.' && part[2] == '.'))
			return false;
		part = part[1 + length] == '/' ? part + 1 + length : NULL;
	}
	return true;
}

bool path_is_within(const char *path, const char *folder)
{
	const size_t length = strlen(folder);

	return strncmp(path, folder, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

bool valid_secret_path(const char *text)
{
	if (strncmp(text, "credential:", 11) != 0)
		return valid_path(text);
	text += 11;
	return text[0] != '\0' && text[0] != '.' &&
	       text[strspn(text, LOWER UPPER DIGITS "._-")] == '\0';
}

bool valid_uuid(const char *text)
{
	if (strlen(text) != 36)
		return false;
	for (size_t i = 0; i < 36; i++) {
		const bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : strchr(DIGITS "abcdefABCDEF", text[i]) == NULL)
			return false;
	}
	return true;
}

/* 16 bytes, IPv4 as ::ffff:a.b.c.d. */
static bool parse_address(const char *text, uint8_t bytes[static 16])
{
	static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	if (inet_pton(AF_INET6, text, bytes) == 1)
		return true;
	memcpy(bytes, MAPPED, sizeof(MAPPED));
	return inet_pton(AF_INET, text, bytes + 12) == 1;
}

static bool is_ipv4(const uint8_t bytes[static 16])
{
	return bytes[10] == 0xff && bytes[11] == 0xff && bytes[0] == 0;
}

bool valid_address(const char *text)
{
	static const uint8_t ZERO[16];
	uint8_t bytes[16];

	if (!parse_address(text, bytes))
		return false;
	if (is_ipv4(bytes)) /* neither 0.x, nor multicast, nor reserved */
		return bytes[12] != 0 && bytes[12] < 224;
	return memcmp(bytes, ZERO, sizeof(bytes)) != 0 && bytes[0] != 0xff;
}

bool same_address(const char *a, const char *b)
{
	uint8_t x[16], y[16];

	return parse_address(a, x) && parse_address(b, y) && memcmp(x, y, sizeof(x)) == 0;
}

bool valid_prefix(const char *text, char address[static 64])
{
	const char *slash = strchr(text, '/');
	uint64_t prefix;

	if (slash == NULL || (size_t)(slash - text) >= 64)
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	return valid_address(address) && text_parse_u64(slash + 1, &prefix) && prefix >= 1 &&
	       prefix <= (strchr(address, ':') != NULL ? 128 : 32);
}

bool valid_listen(const char *text)
{
	const bool ipv6 = text[0] == '[';
	const char *start = ipv6 ? text + 1 : text;
	const char *end = ipv6 ? strchr(start, ']') : strchr(start, ':');
	uint8_t bytes[16];
	char address[64];
	uint64_t port;

	if (end == NULL || (size_t)(end - start) >= sizeof(address))
		return false;
	memcpy(address, start, (size_t)(end - start));
	address[end - start] = '\0';
	if (inet_pton(ipv6 ? AF_INET6 : AF_INET, address, bytes) != 1)
		return false;
	end += ipv6;
	return end[0] == ':' && text_parse_u64(end + 1, &port) && port >= 1 && port <= 65535;
}

bool valid_endpoint(const char *text)
{
	return strncmp(text, "tcp://", 6) == 0 && valid_listen(text + 6);
}

bool valid_interface(const char *text)
{
	const size_t length = strlen(text);

	return length >= 1 && length <= 15 && strcmp(text, ".") != 0 && strcmp(text, "..") != 0 &&
	       text[strspn(text, LOWER UPPER DIGITS "._@-")] == '\0';
}

bool valid_identifier(const char *text, size_t max)
{
	const size_t length = strlen(text);

	return length >= 1 && length <= max && strchr(LOWER "_", text[0]) != NULL &&
	       text[strspn(text, LOWER DIGITS "_")] == '\0';
}

bool valid_os_user(const char *text, size_t max)
{
	const size_t length = strlen(text);

	return length >= 1 && length <= max && strchr(LOWER "_", text[0]) != NULL &&
	       text[strspn(text, LOWER DIGITS "_-")] == '\0';
}
