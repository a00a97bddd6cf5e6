/*
 * Prints every change of leader, one line each, and with -e the cluster's events.
 *
 *   mha-watch [-e] [-c CLUSTER] SEEDS
 *
 * cc mha-watch.c $(pkg-config --cflags --libs libmha)
 */
#include <errno.h>
#include <inttypes.h>
#include <mha4rdb/mha.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static void on_change(void *arg, const struct mha_change *change)
{
	(void)arg;
	switch (change->kind) {
	case MHA_LEADER_FOUND:
		printf("leader %s epoch %" PRIu64 " at %s:%u\n", change->name, change->epoch,
		       change->address, change->port);
		break;
	case MHA_LEADER_LOST:
		printf("lost %s epoch %" PRIu64 ": %s\n", change->old_name, change->old_epoch,
		       change->why);
		break;
	case MHA_LEADER_CHANGED:
		printf("changed %s epoch %" PRIu64 " -> %s epoch %" PRIu64 " at %s:%u\n",
		       change->old_name, change->old_epoch, change->name, change->epoch,
		       change->address, change->port);
		break;
	default:
		printf("back %s epoch %" PRIu64 "\n", change->name, change->epoch);
	}
	fflush(stdout);
}

static void on_event(void *arg, const struct mha_event *event)
{
	(void)arg;
	if (event->gap)
		printf("event gap\n");
	else
		printf("event %" PRIu64 ".%" PRIu32 " %s %s\n", event->index, event->sub,
		       event->name, event->json);
	fflush(stdout);
}

static int fail(const struct mha_error *error)
{
	fprintf(stderr, "mha-watch: %s (%s)\n", error->text, mha_error_name(error->code));
	return 1;
}

static int watch(struct mha *mha, const struct mha_listener *listener)
{
	struct pollfd item = {.events = POLLIN};
	struct mha_error error;

	if (mha_listen(mha, listener, &error) < 0)
		return fail(&error);
	item.fd = mha_fd(mha);
	while (!ended) {
		if (poll(&item, 1, 1000) < 0 && errno != EINTR) {
			perror("mha-watch: poll");
			return 1;
		}
		if (mha_process(mha, &error) < 0)
			fprintf(stderr, "mha-watch: %s\n", error.text);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct mha_options options = MHA_OPTIONS_INIT;
	struct mha_listener listener = MHA_LISTENER_INIT;
	struct mha_error error;
	struct mha *mha;
	int option, rc;

	listener.changed = on_change;
	while ((option = getopt(argc, argv, "ec:")) != -1) {
		if (option == 'e')
			listener.event = on_event;
		else if (option == 'c')
			options.cluster = optarg;
		else
			argc = 0;
	}
	if (argc != optind + 1) {
		fprintf(stderr, "usage: mha-watch [-e] [-c CLUSTER] SEEDS\n");
		return 2;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	options.seeds = argv[optind];
	if (mha_open(&mha, &options, &error) < 0)
		return fail(&error);
	rc = watch(mha, &listener);
	mha_close(mha);
	return rc;
}
