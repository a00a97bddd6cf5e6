/* The configuration file: whatever is in it, there is an answer, and it prints back to itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "conf/conf.h"
#include "fuzz.h"
#include "os/memfd.h"

static void print_and_read(const struct conf *conf)
{
	static struct conf again;
	struct err why = {0};
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	int fd;

	if (to == NULL)
		return;
	CHECK(conf_print(conf, to, &why) == 0);
	fclose(to);
	fd = memfd_sealed("printed", text, size, &why);
	free(text);
	if (fd < 0)
		return;
	CHECK(conf_read_fd(&again, fd, "printed", &why) == 0);
	CHECK(conf_reload_check(conf, &again, &why) == 0);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct conf conf;
	struct err why = {0};
	int fd = memfd_sealed("fuzz", bytes, size, &why);

	if (fd < 0)
		return 0;
	if (conf_read_fd(&conf, fd, "fuzz", &why) < 0)
		CHECK(why.text[0] != '\0');
	else
		print_and_read(&conf);
	close(fd);
	return 0;
}
