/*
 * A disk image as a file of a FUSE file system, for a loop device: every write and every flush that
 * comes from the file system on it goes into a record, in order, together with marks that the
 * program under test writes into a second file. A power cut at any moment is a prefix of the
 * record.
 *
 *     power-image RECORD SIZE MOUNTPOINT
 *
 * says "mounted" and stays in the foreground until it is not any more. MOUNTPOINT/image is the
 * disk, SIZE bytes of zeros; a write to MOUNTPOINT/mark is a mark. A record is a letter (W, F, M),
 * the offset, the length, both as 64-bit numbers of this machine, and the bytes.
 */
#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct image {
	FILE *record;
	char *bytes;
	off_t size;
};

static struct image *image_of(void)
{
	return fuse_get_context()->private_data;
}

static int add(struct image *image, char kind, off_t offset, const char *bytes, size_t size)
{
	const uint64_t numbers[2] = {(uint64_t)offset, size};

	if (fputc(kind, image->record) == EOF ||
	    fwrite(numbers, sizeof(numbers), 1, image->record) != 1 ||
	    (size > 0 && fwrite(bytes, size, 1, image->record) != 1))
		return -EIO;
	return 0;
}

/* Who started this waits for the line: it is mounted. */
static void *image_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
	(void)connection;
	(void)config;
	puts("mounted");
	fflush(stdout);
	return image_of();
}

static int image_getattr(const char *path, struct stat *attributes, struct fuse_file_info *file)
{
	(void)file;
	memset(attributes, 0, sizeof(*attributes));
	attributes->st_nlink = 1;
	attributes->st_mode = S_IFREG | 0600;
	if (strcmp(path, "/image") == 0)
		attributes->st_size = image_of()->size;
	else if (strcmp(path, "/") == 0)
		attributes->st_mode = S_IFDIR | 0700;
	else if (strcmp(path, "/mark") != 0)
		return -ENOENT;
	return 0;
}

/* Past the page cache: a write is recorded when it is made. */
static int image_open(const char *path, struct fuse_file_info *file)
{
	(void)path;
	file->direct_io = 1;
	return 0;
}

static int image_truncate(const char *path, off_t size, struct fuse_file_info *file)
{
	(void)size;
	(void)file;
	return strcmp(path, "/mark") == 0 ? 0 : -EPERM;
}

static int image_read(const char *path, char *buffer, size_t size, off_t offset,
		      struct fuse_file_info *file)
{
	const struct image *image = image_of();

	(void)file;
	if (strcmp(path, "/image") != 0 || offset < 0 || offset >= image->size)
		return 0;
	if ((off_t)size > image->size - offset)
		size = (size_t)(image->size - offset);
	memcpy(buffer, image->bytes + offset, size);
	return (int)size;
}

static int image_write(const char *path, const char *bytes, size_t size, off_t offset,
		       struct fuse_file_info *file)
{
	struct image *image = image_of();
	const char kind = strcmp(path, "/mark") == 0 ? 'M' : 'W';
	int rc;

	(void)file;
	if (kind == 'W' &&
	    (offset < 0 || offset > image->size || (off_t)size > image->size - offset))
		return -ENOSPC;
	rc = add(image, kind, offset, bytes, size);
	if (rc < 0)
		return rc;
	if (kind == 'W')
		memcpy(image->bytes + offset, bytes, size);
	return (int)size;
}

static int image_fsync(const char *path, int data_only, struct fuse_file_info *file)
{
	(void)data_only;
	(void)file;
	return strcmp(path, "/image") == 0 ? add(image_of(), 'F', 0, NULL, 0) : 0;
}

static const struct fuse_operations OPERATIONS = {
	.init = image_init,
	.getattr = image_getattr,
	.open = image_open,
	.truncate = image_truncate,
	.read = image_read,
	.write = image_write,
	.fsync = image_fsync,
};

int main(int argc, char **argv)
{
	struct image image = {0};
	/* One thread: the record has the order in which things were done. */
	char foreground[] = "-f", one_thread[] = "-s";
	char *arguments[] = {argv[0], foreground, one_thread, argc == 4 ? argv[3] : NULL, NULL};
	int rc;

	if (argc != 4 || (image.size = atol(argv[2])) <= 0) {
		fprintf(stderr, "usage: power-image RECORD SIZE MOUNTPOINT\n");
		return 2;
	}
	image.record = fopen(argv[1], "wbe");
	image.bytes = calloc(1, (size_t)image.size);
	if (image.record == NULL || image.bytes == NULL) {
		perror("power-image");
		return 1;
	}
	rc = fuse_main(4, arguments, &OPERATIONS, &image);
	free(image.bytes);
	if (fclose(image.record) != 0)
		rc = 1;
	return rc;
}
