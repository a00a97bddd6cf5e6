/*
 * Runs a fuzz target without libFuzzer: each file of a folder, then mutations of them drawn from a
 * fixed seed, so that every run does the same.
 *
 *   fuzz_<name>_replay FOLDER ROUNDS    the corpus and ROUNDS mutations
 *   fuzz_<name>_replay FILE             one input
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX  65536
#define INPUTS_MAX 256
#define SEED       UINT64_C(0x9e3779b97f4a7c15)

struct input {
	uint8_t *bytes;
	size_t size;
};

struct corpus {
	struct input inputs[INPUTS_MAX];
	unsigned count;
};

static uint64_t next(uint64_t *state)
{
	/* xorshift64*: the same everywhere. */
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* The target gets memory of exactly the input's size, so that a sanitizer sees a step beyond. */
static void run(const uint8_t *bytes, size_t size)
{
	uint8_t *exact = malloc(size == 0 ? 1 : size);

	if (exact == NULL) {
		fprintf(stderr, "out of memory\n");
		exit(2);
	}
	memcpy(exact, bytes, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

static bool read_input(const char *path, struct input *input)
{
	FILE *file = fopen(path, "rb");

	if (file == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	input->bytes = malloc(INPUT_MAX);
	if (input->bytes != NULL)
		input->size = fread(input->bytes, 1, INPUT_MAX, file);
	fclose(file);
	return input->bytes != NULL;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static bool read_folder(const char *path, struct corpus *corpus)
{
	struct dirent **names = NULL;
	int count = scandir(path, &names, NULL, by_name);
	bool fine = count >= 0;

	if (!fine)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	for (int i = 0; i < count; i++) {
		char file[1024];

		if (fine && names[i]->d_name[0] != '.' && corpus->count < INPUTS_MAX) {
			snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
			fine = read_input(file, &corpus->inputs[corpus->count]);
			corpus->count += fine;
		}
		free(names[i]);
	}
	free(names);
	return fine;
}

/* One small change; returns the new size. */
static size_t mutate(uint8_t *bytes, size_t size, uint64_t *state)
{
	static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, 9, 10, '\n'};
	size_t at = size == 0 ? 0 : next(state) % size;
	size_t length = 1 + next(state) % 16;

	switch (next(state) % 6) {
	case 0: /* one bit */
		if (size > 0)
			bytes[at] ^= (uint8_t)(1U << next(state) % 8);
		return size;
	case 1: /* one byte */
		if (size > 0)
			bytes[at] = (uint8_t)next(state);
		return size;
	case 2: /* a byte that is often special */
		if (size > 0)
			bytes[at] = odd[next(state) % sizeof(odd)];
		return size;
	case 3: /* cut the end */
		return at;
	case 4: /* take some bytes out */
		if (at + length > size)
			return size;
		memmove(bytes + at, bytes + at + length, size - at - length);
		return size - length;
	default: /* repeat some bytes */
		if (at + length > size || size + length > INPUT_MAX)
			return size;
		memmove(bytes + at + length, bytes + at, size - at);
		return size + length;
	}
}

static void mutations(const struct corpus *corpus, unsigned long rounds)
{
	static uint8_t bytes[INPUT_MAX];
	uint64_t state = SEED;

	for (unsigned long round = 0; round < rounds; round++) {
		const struct input *input = &corpus->inputs[next(&state) % corpus->count];
		size_t size = input->size;

		memcpy(bytes, input->bytes, size);
		for (uint64_t changes = 1 + next(&state) % 4; changes > 0; changes--)
			size = mutate(bytes, size, &state);
		run(bytes, size);
	}
}

int main(int argc, char **argv)
{
	static struct corpus corpus;
	unsigned long rounds = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	struct stat what;

	if (argc < 2 || argc > 3 || stat(argv[1], &what) != 0) {
		fprintf(stderr, "usage: %s FOLDER [ROUNDS] | FILE\n", argv[0]);
		return 2;
	}
	if (S_ISDIR(what.st_mode) ? !read_folder(argv[1], &corpus)
				  : !read_input(argv[1], &corpus.inputs[corpus.count++]))
		return 2;
	if (corpus.count == 0) {
		fprintf(stderr, "%s: no inputs\n", argv[1]);
		return 2;
	}
	run(corpus.inputs[0].bytes, 0);
	for (unsigned i = 0; i < corpus.count; i++)
		run(corpus.inputs[i].bytes, corpus.inputs[i].size);
	mutations(&corpus, rounds);
	printf("%u inputs, %lu mutations\n", corpus.count, rounds);
	for (unsigned i = 0; i < corpus.count; i++)
		free(corpus.inputs[i].bytes);
	return 0;
}
