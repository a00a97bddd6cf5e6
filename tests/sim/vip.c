/*
 * The kernel's fence, which goes on without the agent, and the worker that sets it: the daemon's
 * own procs/vip/serve.c. The address follows the fence.
 */
#include <string.h>

#include "sim.h"

bool fence_admits(const struct host *host)
{
	const struct kernel *kernel = &host->kernel;

	return kernel->fence == FENCE_NONE ||
	       (kernel->fence == FENCE_OPEN && kernel->until_ns > local_ns(host));
}

bool fence_admits_members(const struct host *host)
{
	const struct kernel *kernel = &host->kernel;

	return fence_admits(host) ||
	       (kernel->fence == FENCE_CLIENTS && kernel->until_ns > local_ns(host));
}

bool vip_here(const struct host *host)
{
	return host->up && host->kernel.fence == FENCE_OPEN && fence_admits(host);
}

void vip_report(struct host *host)
{
	struct agent_event event;

	memset(&event, 0, sizeof(event));
	event.kind = EV_FENCE;
	event.fence.state = host->serve.state;
	event.fence.epoch = host->serve.epoch;
	event.fence.kernel = true;
	bus_send(host, &event);
}

/* Its state is read back from the kernel; without rules nobody is admitted. */
void vip_start(struct host *host)
{
	struct kernel *kernel = &host->kernel;
	struct serve_found found = {.state = FENCE_CLOSED};

	if (fence_admits_members(host))
		found = (struct serve_found){.state = kernel->fence,
					     .epoch = kernel->epoch,
					     .until_ns = kernel->until_ns};
	serve_init(&host->serve, world.agent.election_ns, &found);
	if (found.state == FENCE_CLOSED)
		kernel->fence = FENCE_CLOSED;
	vip_report(host);
}

/* The element's timeout is in whole ms from now on. */
static void set_kernel(struct host *host)
{
	const uint64_t now = local_ns(host);
	const uint64_t timeout = serve_timeout_ms(&host->serve, now) * MS;

	host->kernel = (struct kernel){.fence = host->serve.state, .epoch = host->serve.epoch};
	if (!serve_leased(&host->serve))
		return;
	host->kernel.until_ns = now + timeout;
	event_add(true_ns(host, host->serve.until_ns) + 100 * US,
		  (struct event){.what = AT_VIP_CHECK,
				 .host = host->id,
				 .part = EXECUTOR_VIP,
				 .generation = host->executors[EXECUTOR_VIP].generation});
}

void vip_grant(struct host *host, uint64_t epoch, uint64_t until_ns)
{
	const enum serve_step step = serve_grant(&host->serve, epoch, until_ns, local_ns(host));

	if (step != SERVE_OPEN && step != SERVE_RENEW)
		return;
	set_kernel(host);
	if (step == SERVE_RENEW)
		return;
	trace("n%u opens for epoch %lu", host->id, (unsigned long)epoch);
	check_opened(host, epoch);
	check_accepting(host);
	vip_report(host);
}

void vip_check(struct host *host)
{
	if (serve_tick(&host->serve, local_ns(host)) != SERVE_EXPIRE)
		return;
	trace("n%u lease is over: closed", host->id);
	set_kernel(host);
	vip_report(host);
}

void vip_order(struct host *host, const struct order *order)
{
	enum serve_step step = SERVE_REFUSE;
	struct agent_event event;

	memset(&event, 0, sizeof(event));
	event.kind = EV_ORDER_RESULT;
	event.result.order_id = order->id;
	event.result.outcome = OUTCOME_REFUSED;
	if (order->kind == ORDER_FENCE_CLOSE)
		step = serve_close(&host->serve, order->epoch);
	else if (order->kind == ORDER_FENCE_DROP)
		step = serve_drop(&host->serve, order->epoch);
	else if (order->kind == ORDER_FENCE_CLIENTS)
		step = serve_clients(&host->serve, order->epoch, order->lease_until_ns,
				     local_ns(host));
	if (step != SERVE_REFUSE) {
		event.result.outcome = OUTCOME_DONE;
		if (step != SERVE_KEEP)
			set_kernel(host);
		check_accepting(host);
	}
	bus_send(host, &event);
	vip_report(host);
}
