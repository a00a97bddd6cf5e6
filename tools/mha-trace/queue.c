#include "trace/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void queue_init(struct queue *queue)
{
	memset(queue, 0, sizeof(*queue));
}

static struct queue_item *oldest(struct queue *queue)
{
	CHECK(queue->count > 0);
	return &queue->items[queue->first];
}

static void remove_oldest(struct queue *queue)
{
	struct queue_item *item = oldest(queue);

	queue->bytes -= item->size;
	free(item->body);
	memset(item, 0, sizeof(*item));
	queue->first = (queue->first + 1) % QUEUE_ITEMS_MAX;
	queue->count--;
	queue->failures = 0;
}

void queue_fini(struct queue *queue)
{
	while (queue->count > 0)
		remove_oldest(queue);
}

void queue_refused(struct queue *queue)
{
	queue->dropped++;
	queue->dropped_spans += oldest(queue)->spans;
	remove_oldest(queue);
	queue->next_ms = 0;
}

void queue_done(struct queue *queue)
{
	queue->sent++;
	remove_oldest(queue);
	queue->next_ms = 0;
}

unsigned queue_push(struct queue *queue, char *body, size_t size, unsigned spans,
		    const char trace[33])
{
	const uint64_t next_ms = queue->next_ms;
	const unsigned failures = queue->failures;
	unsigned dropped = 0;
	struct queue_item *item;

	if (size > QUEUE_BYTES_MAX) {
		free(body);
		queue->dropped++;
		queue->dropped_spans += spans;
		return 1;
	}
	for (; queue->count == QUEUE_ITEMS_MAX || queue->bytes + size > QUEUE_BYTES_MAX; dropped++)
		queue_refused(queue);
	/* The collector is no nearer because something was dropped. */
	queue->next_ms = queue->count > 0 || dropped > 0 ? next_ms : 0;
	queue->failures = failures;
	item = &queue->items[(queue->first + queue->count++) % QUEUE_ITEMS_MAX];
	*item = (struct queue_item){.body = body, .size = size, .spans = spans};
	memcpy(item->trace, trace, sizeof(item->trace));
	queue->bytes += size;
	return dropped;
}

const struct queue_item *queue_due(const struct queue *queue, uint64_t now_ms)
{
	return queue->count > 0 && now_ms >= queue->next_ms ? &queue->items[queue->first] : NULL;
}

unsigned queue_wait(const struct queue *queue, uint64_t now_ms, unsigned most)
{
	if (queue->count == 0)
		return most;
	if (now_ms >= queue->next_ms)
		return 0;
	return queue->next_ms - now_ms < most ? (unsigned)(queue->next_ms - now_ms) : most;
}

void queue_again(struct queue *queue, uint64_t now_ms, uint64_t asked_ms, uint32_t chance)
{
	uint64_t wait = QUEUE_BACKOFF_MS;

	for (unsigned i = 0; i < queue->failures && wait < QUEUE_WAIT_MAX; i++)
		wait *= 2;
	if (wait > QUEUE_WAIT_MAX)
		wait = QUEUE_WAIT_MAX;
	wait -= chance % (wait / 5);
	if (asked_ms > wait)
		wait = asked_ms < QUEUE_WAIT_MAX ? asked_ms : QUEUE_WAIT_MAX;
	queue->failures++;
	queue->next_ms = now_ms + wait;
}
