#include "access/bundle.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define MAGIC  UINT32_C(0x6d686162)
#define ABSENT UINT32_MAX

/* In front of the parts, each with a NUL behind it. */
struct header {
	uint32_t magic;
	uint32_t size[BUNDLE_PART_COUNT]; /* ABSENT: there is none */
};

void bundle_put(struct bundle *bundle, enum bundle_part part, char *text, size_t size)
{
	CHECK(part < BUNDLE_PART_COUNT && bundle->text[part] == NULL && text[size] == '\0');
	bundle->text[part] = text;
	bundle->size[part] = size;
}

int bundle_write(const struct bundle *bundle, uint8_t **bytes, size_t *size, struct err *why)
{
	struct header header = {.magic = MAGIC};
	size_t at = sizeof(header);

	*size = sizeof(header);
	for (unsigned i = 0; i < BUNDLE_PART_COUNT; i++) {
		header.size[i] = bundle->text[i] != NULL ? (uint32_t)bundle->size[i] : ABSENT;
		if (bundle->text[i] != NULL)
			*size += bundle->size[i] + 1;
	}
	*bytes = malloc(*size);
	if (*bytes == NULL)
		return err_set(why, ERR_NO_MEMORY, "out of memory");
	memcpy(*bytes, &header, sizeof(header));
	for (unsigned i = 0; i < BUNDLE_PART_COUNT; i++) {
		if (bundle->text[i] == NULL)
			continue;
		memcpy(*bytes + at, bundle->text[i], bundle->size[i] + 1);
		at += bundle->size[i] + 1;
	}
	return 0;
}

static int read_parts(struct bundle *bundle, const struct header *header, const uint8_t *bytes,
		      size_t size, struct err *why)
{
	for (unsigned i = 0; i < BUNDLE_PART_COUNT; i++) {
		const size_t length = header->size[i];

		if (header->size[i] == ABSENT)
			continue;
		if (length > BUNDLE_PART_MAX || length >= size || bytes[length] != '\0')
			return err_set(why, ERR_CORRUPT, "the bundle's part %u does not fit", i);
		bundle->text[i] = malloc(length + 1);
		if (bundle->text[i] == NULL)
			return err_set(why, ERR_NO_MEMORY, "out of memory");
		memcpy(bundle->text[i], bytes, length + 1);
		bundle->size[i] = length;
		bytes += length + 1;
		size -= length + 1;
	}
	return size == 0 ? 0 : err_set(why, ERR_CORRUPT, "the bundle has %zu bytes too many", size);
}

int bundle_read(struct bundle *bundle, const uint8_t *bytes, size_t size, struct err *why)
{
	struct header header;
	int rc;

	memset(bundle, 0, sizeof(*bundle));
	if (size < sizeof(header))
		return err_set(why, ERR_CORRUPT, "the bundle has only %zu bytes", size);
	memcpy(&header, bytes, sizeof(header));
	if (header.magic != MAGIC)
		return err_set(why, ERR_CORRUPT, "this is no bundle");
	rc = read_parts(bundle, &header, bytes + sizeof(header), size - sizeof(header), why);
	if (rc < 0)
		bundle_clear(bundle);
	return rc;
}

void bundle_clear(struct bundle *bundle)
{
	for (unsigned i = 0; i < BUNDLE_PART_COUNT; i++) {
		if (bundle->text[i] != NULL)
			explicit_bzero(bundle->text[i], bundle->size[i]);
		free(bundle->text[i]);
	}
	memset(bundle, 0, sizeof(*bundle));
}
