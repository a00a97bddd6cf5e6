#include "worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "announce.h"
#include "base/check.h"
#include "base/log.h"
#include "bus.pb-c.h"
#include "core/order.h"
#include "kernel.h"
#include "os/clock.h"
#include "serve.h"
#include "wire/convert.h"

#define S  UINT64_C(1000000000)
#define MS UINT64_C(1000000)
/* What the kernel refused, or the bus did not take, is tried again after this. */
#define RETRY_MS     20
#define RETRY_MAX_MS 640
/* The same refusal is logged this often. */
#define REFUSAL_LOG_NS (60 * S)

enum handle {
	HANDLE_LEASE, /* a timerfd on CLOCK_BOOTTIME: the lease ends */
	HANDLE_FENCE,
	HANDLE_ADDRESS,
	HANDLE_POLL_COUNT
};

/* What consensus was told last. */
struct said {
	uint8_t state;
	uint64_t epoch;
	bool vip_held;
	bool kernel_fence;
	char text[ERR_TEXT_SIZE];
};

struct vip {
	struct worker *worker;
	struct serve serve;
	struct kernel kernel;
	int lease_timer; /* -1: not open */
	uv_poll_t polls[HANDLE_POLL_COUNT];
	bool polling[HANDLE_POLL_COUNT];
	uv_timer_t announce_timer;
	uint64_t announce_left; /* of the burst */
	uv_timer_t retry_timer;
	uint64_t retry_ms;
	uint64_t fence_set_ns;  /* when the kernel confirmed what the fence is */
	uint64_t fence_ends_ns; /* when it shuts by itself at the latest; 0: it does not */
	bool fence_wrong;       /* the kernel has refused what the fence should be */
	bool report_due;        /* consensus does not know yet */
	uint64_t incarnation;
	uint64_t refused_epoch; /* of the grant whose refusal was logged last, and when */
	uint64_t refused_ns;
	struct err fence_error; /* why the kernel is not as it should be; code 0: it is */
	struct err address_error;
	struct said said;
	struct status_vip status;
};

static bool vip_held(const struct vip *vip)
{
	return vip->kernel.address_used && vip->kernel.address.present;
}

/* A close that the kernel has not confirmed is no fence. */
static uint8_t proven_state(const struct vip *vip)
{
	return vip->fence_wrong ? FENCE_NONE : vip->serve.state;
}

static const char *error_text(const struct vip *vip)
{
	if (vip->fence_error.code != 0)
		return vip->fence_error.text;
	return vip->address_error.code != 0 ? vip->address_error.text : "";
}

/* How long clients were let in: a lease that ended unseen was over when it ended. */
static void count_open(struct status_vip *status, bool open, uint64_t until_ns, uint64_t now_ns)
{
	const uint64_t end_ns = until_ns < now_ns ? until_ns : now_ns;

	if (open && status->opened_ns == 0)
		status->opened_ns = now_ns;
	if (open || status->opened_ns == 0)
		return;
	if (end_ns > status->opened_ns)
		status->open_us_total += (end_ns - status->opened_ns) / 1000;
	status->opened_ns = 0;
}

static void publish(struct vip *vip)
{
	struct status_vip *status = &vip->status;
	const uint64_t now_ns = clock_boot_ns();

	count_open(status, proven_state(vip) == FENCE_OPEN, status->until_ns, now_ns);
	status->updated_ns = now_ns;
	status->fence = proven_state(vip);
	status->epoch = vip->serve.epoch;
	status->until_ns = vip->serve.until_ns;
	status->vip_held = vip_held(vip);
	status->kernel_fence = vip->kernel.fence_used;
	status->renewals = vip->serve.renewals;
	status->expiries = vip->serve.expiries;
	memset(status->last_error, 0, sizeof(status->last_error));
	strncpy(status->last_error, error_text(vip), sizeof(status->last_error) - 1);
	status_publish(&vip->worker->status, status);
}

static void retry_later(struct vip *vip);

static bool said_equal(const struct said *a, const struct said *b)
{
	return a->state == b->state && a->epoch == b->epoch && a->vip_held == b->vip_held &&
	       a->kernel_fence == b->kernel_fence && strcmp(a->text, b->text) == 0;
}

/* Say what the kernel has; `always` also when it is what was said last. */
static void report(struct vip *vip, bool always)
{
	struct said now = {
		.state = proven_state(vip),
		.epoch = vip->serve.epoch,
		.vip_held = vip_held(vip),
		.kernel_fence = vip->kernel.fence_used,
	};
	Mha__Bus__FenceReport message;

	strncpy(now.text, error_text(vip), sizeof(now.text) - 1);
	if (!always && !vip->report_due && said_equal(&now, &vip->said))
		return;
	mha__bus__fence_report__init(&message);
	message.state = now.state;
	message.epoch = now.epoch;
	message.vip_held = now.vip_held;
	message.kernel_fence = now.kernel_fence;
	message.text = now.text;
	message.incarnation = vip->incarnation;
	vip->said = now;
	vip->report_due = bus_send(vip->worker->bus, ROUTE_FENCE, &message.base, NULL) < 0;
	if (vip->report_due)
		retry_later(vip);
}

/* A change of the error is logged once, by the one who shows it. */
static void note_error(struct err *held, const char *event, int rc, const struct err *why)
{
	if (rc < 0 && (held->code != rc || strcmp(held->text, why->text) != 0))
		log_event(LOG_ERROR, event, "error=%s why=\"%s\"", err_name(rc), why->text);
	if (rc < 0) {
		*held = *why;
		held->code = rc;
	} else {
		held->code = 0;
		held->text[0] = '\0';
	}
}

static void arm_lease_timer(struct vip *vip)
{
	const uint64_t at = serve_leased(&vip->serve) ? vip->serve.until_ns : 0;
	const struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(at / S), .tv_nsec = (long)(at % S)}};

	CHECK(timerfd_settime(vip->lease_timer, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

static void announce(struct vip *vip)
{
	struct err why = {0};

	if (announce_send(WORKER_FD_PACKET, &vip->kernel.address, &why) < 0)
		log_event(LOG_WARNING, "vip.announce", "why=\"%s\"", why.text);
}

static void on_announce(uv_timer_t *timer)
{
	struct vip *vip = timer->data;
	const struct conf *conf = &vip->worker->conf;

	/*
	 * A process that was stopped for long wakes up here first, before it hears that the lease
	 * has ended: the neighbours must not be told to come to a host that serves no more.
	 */
	if (serve_lifetime_s(&vip->serve, clock_boot_ns()) == 0 || !vip_held(vip))
		return;
	announce(vip);
	if (vip->announce_left > 0)
		vip->announce_left--;

	const uint64_t next_ms =
		vip->announce_left > 0 ? conf->vip_announce_gap_ms : conf->vip_refresh_ms;

	(void)uv_timer_start(timer, on_announce, next_ms, 0);
}

/* The first announcement leaves now, not with the next turn of the loop. */
static void announce_burst(struct vip *vip)
{
	vip->announce_left = vip->worker->conf.vip_announce_count;
	on_announce(&vip->announce_timer);
}

static int set_fence(struct vip *vip, const struct serve *serve)
{
	const uint64_t started_ns = clock_boot_ns();
	struct err why = {0};
	uint64_t ends_ns = 0;
	const int rc = kernel_set_fence(&vip->kernel, serve, &ends_ns, &why);
	const uint64_t now_ns = clock_boot_ns();

	if (rc == 0) {
		vip->fence_set_ns = now_ns;
		vip->fence_ends_ns = ends_ns;
	}
	vip->status.last_renew_us = (now_ns - started_ns) / 1000;
	note_error(&vip->fence_error, "fence.failed", rc, &why);
	return rc;
}

/* What a lease was, before something ends it. */
struct held {
	bool leased;
	uint64_t until_ns;
	uint64_t ends_ns; /* the kernel's own end */
};

static struct held held_now(const struct vip *vip)
{
	return (struct held){.leased = serve_leased(&vip->serve),
			     .until_ns = vip->serve.until_ns,
			     .ends_ns = vip->fence_ends_ns};
}

/* The fence is shut since the kernel's end, or since its confirmation if that came first. */
static void note_margin(struct vip *vip, const struct held *held)
{
	uint64_t shut_ns = vip->fence_set_ns;

	if (!held->leased || vip->serve.state != FENCE_CLOSED || vip->fence_wrong)
		return;
	if (held->ends_ns != 0 && held->ends_ns < shut_ns)
		shut_ns = held->ends_ns;
	status_margin_add(&vip->status.margins, ((int64_t)(held->until_ns - shut_ns)) / 1000);
}

static int set_address(struct vip *vip, bool announce_anyway)
{
	struct err why = {0};
	bool added = false;
	const int rc = kernel_set_address(&vip->kernel, &vip->serve, clock_boot_ns(), &added, &why);

	note_error(&vip->address_error, "vip.failed", rc, &why);
	if (rc < 0)
		retry_later(vip);
	else if (added || announce_anyway)
		announce_burst(vip);
	return rc;
}

/* A session's end reaches its client only while the address that it used is still here. */
static int end_sessions(struct vip *vip)
{
	struct err why = {0};
	unsigned ended = 0;
	const int rc = kernel_end_sessions(&vip->kernel, &vip->serve, &ended, &why);

	if (rc < 0)
		note_error(&vip->fence_error, "fence.failed", rc, &why);
	if (ended > 0)
		log_event(LOG_NOTICE, "fence.sessions", "ended=%u", ended);
	return rc;
}

/* Make every part of the kernel what serve says: fence, then sessions, then address. */
static int enforce(struct vip *vip)
{
	int rc = set_fence(vip, &vip->serve);

	vip->fence_wrong = rc < 0;
	if (vip->serve.state == FENCE_CLOSED || vip->serve.state == FENCE_CLIENTS) {
		/* A failover waits for the fence, not for the end of some thousand sessions. */
		report(vip, false);

		const int sessions_rc = end_sessions(vip);

		rc = rc < 0 ? rc : sessions_rc;
	}
	vip->fence_wrong = rc < 0;

	const int address_rc = set_address(vip, false);

	if (rc < 0)
		retry_later(vip);
	arm_lease_timer(vip);
	return rc < 0 ? rc : address_rc;
}

static void on_retry(uv_timer_t *timer)
{
	struct vip *vip = timer->data;

	if (vip->fence_wrong)
		(void)enforce(vip);
	else if (vip->address_error.code != 0)
		(void)set_address(vip, false);
	publish(vip);
	report(vip, false);
	if (!uv_is_active((uv_handle_t *)timer))
		vip->retry_ms = RETRY_MS;
}

static void retry_later(struct vip *vip)
{
	/* A missing interface announces itself; asking for it again and again finds nothing. */
	if (vip->address_error.code == ERR_NOT_FOUND && !vip->fence_wrong && !vip->report_due)
		return;
	if (uv_is_active((uv_handle_t *)&vip->retry_timer))
		return;
	(void)uv_timer_start(&vip->retry_timer, on_retry, vip->retry_ms, 0);
	vip->retry_ms = 2 * vip->retry_ms < RETRY_MAX_MS ? 2 * vip->retry_ms : RETRY_MAX_MS;
}

static void expire(struct vip *vip, const struct held *held)
{
	log_event(LOG_WARNING, "fence.expired",
		  "epoch=%" PRIu64 " the lease ended without a renewal: closed", vip->serve.epoch);
	(void)enforce(vip);
	note_margin(vip, held);
	publish(vip);
	report(vip, false);
}

static void on_lease_timer(uv_poll_t *poll, int status, int events)
{
	struct vip *vip = poll->data;
	const struct held held = held_now(vip);
	uint64_t count;

	UNUSED(status);
	UNUSED(events);
	/* Nothing to read: the lease was renewed in the same turn of the loop. */
	(void)!read(vip->lease_timer, &count, sizeof(count));
	if (serve_tick(&vip->serve, clock_boot_ns()) == SERVE_EXPIRE)
		expire(vip, &held);
}

/* libuv ends a watch whose socket reports an error, here: that notices were lost. */
static void watch_on(uv_poll_t *poll, int status, uv_poll_cb callback)
{
	if (status < 0)
		CHECK(uv_poll_start(poll, UV_READABLE, callback) == 0);
}

static void on_fence_event(uv_poll_t *poll, int status, int events)
{
	struct vip *vip = poll->data;
	struct err why = {0};

	UNUSED(events);
	watch_on(poll, status, on_fence_event);

	const enum fence_notice notice = fence_watch(&vip->kernel.fence);

	/* A lease's element comes back with the next renewal, or this was one. */
	if (notice == FENCE_UNTOUCHED ||
	    (notice == FENCE_ELEMENT_REMOVED && serve_leased(&vip->serve)) ||
	    kernel_fence_stands(&vip->kernel, &vip->serve))
		return;

	int rc = kernel_restore_fence(&vip->kernel, &vip->serve, clock_boot_ns(), &why);

	log_event(
		LOG_WARNING, "fence.restored",
		"state=%s somebody changed nftables table inet %s, for instance a firewall reload",
		fence_state_name(vip->serve.state), FENCE_TABLE);
	note_error(&vip->fence_error, "fence.failed", rc, &why);
	if (rc == 0 && serve_leased(&vip->serve))
		rc = set_fence(vip, &vip->serve);
	vip->fence_wrong = rc < 0;
	if (rc < 0)
		retry_later(vip);
	publish(vip);
	report(vip, false);
}

static void on_address_event(uv_poll_t *poll, int status, int events)
{
	struct vip *vip = poll->data;
	struct address *address = &vip->kernel.address;
	const bool was_up = address->link_up;
	const bool was_present = address->present;

	UNUSED(events);
	watch_on(poll, status, on_address_event);
	if (!address_watch(address))
		return;
	if (vip->serve.state == FENCE_OPEN && was_present && !address->present)
		log_event(LOG_WARNING, "vip.lost",
			  "interface=%s somebody removed the virtual IP; it is added again",
			  address->interface);
	(void)set_address(vip, (!was_up && address->link_up) || (!was_present && address->present));
	publish(vip);
	report(vip, false);
}

static void refuse_grant(struct vip *vip, const Mha__Bus__Grant *grant, uint64_t now_ns)
{
	const int64_t left_ns = (int64_t)(grant->until_ns - now_ns);

	report(vip, true);
	if (vip->refused_ns != 0 && vip->refused_epoch == grant->epoch &&
	    now_ns - vip->refused_ns < REFUSAL_LOG_NS)
		return;
	vip->refused_epoch = grant->epoch;
	vip->refused_ns = now_ns;
	log_event(LOG_WARNING, "fence.refused",
		  "grant_epoch=%" PRIu64 " remaining_ms=%" PRId64 " state=%s epoch=%" PRIu64
		  " the grant is older than what was seen, has ended, or is longer than a lease",
		  grant->epoch, left_ns / (int64_t)MS, fence_state_name(vip->serve.state),
		  vip->serve.epoch);
}

/* The fence was open before, and has just been confirmed again. */
static void note_period(struct vip *vip, uint64_t before_ns)
{
	const uint64_t period_us = (vip->fence_set_ns - before_ns) / 1000;

	if (before_ns == 0)
		return;
	status_period_add(&vip->status.periods, (int64_t)period_us);
	if (period_us > vip->status.longest_period_us)
		vip->status.longest_period_us = period_us;
}

static void on_grant(struct vip *vip, const Mha__Bus__Grant *grant)
{
	struct serve next = vip->serve;
	const uint64_t now_ns = clock_boot_ns();
	const enum serve_step step = serve_grant(&next, grant->epoch, grant->until_ns, now_ns);
	const uint64_t before_ns = vip->fence_set_ns;

	log_set_operation(grant->operation);
	if (step == SERVE_KEEP)
		return;
	if (step == SERVE_REFUSE) {
		refuse_grant(vip, grant, now_ns);
		return;
	}
	/* What the kernel did not take is not served: the lease before it, if any, runs on. */
	if (set_fence(vip, &next) < 0) {
		publish(vip);
		report(vip, false);
		return;
	}
	if (step == SERVE_RENEW && serve_leased(&vip->serve))
		status_margin_add(&vip->status.leases,
				  ((int64_t)(vip->serve.until_ns - now_ns)) / 1000);
	vip->serve = next;
	vip->fence_wrong = false;
	if (step == SERVE_RENEW)
		note_period(vip, before_ns);
	arm_lease_timer(vip);
	(void)set_address(vip, step == SERVE_OPEN);
	if (step == SERVE_OPEN)
		log_event(LOG_NOTICE, "fence.open",
			  "epoch=%" PRIu64 " remaining_ms=%" PRIu64 " vip=%s", next.epoch,
			  serve_timeout_ms(&next, now_ns),
			  vip_held(vip) ? vip->worker->conf.vip_address : "-");
	publish(vip);
	report(vip, false);
}

static void send_result(struct vip *vip, const struct order *order, enum order_outcome outcome,
			const char *text)
{
	Mha__Bus__OrderResult result;
	char copy[ERR_TEXT_SIZE];
	struct err why = {0};

	memcpy(copy, text, strlen(text) + 1);
	mha__bus__order_result__init(&result);
	result.order_id = order->id;
	result.outcome = outcome;
	result.text = copy;
	result.incarnation = vip->incarnation;
	/* A lost result is the repetition of the order. */
	if (bus_send(vip->worker->bus, ROUTE_RESULT_VIP, &result.base, &why) < 0)
		log_event(LOG_DEBUG, "fence.result", "order=%" PRIu64 " why=\"%s\"", order->id,
			  why.text);
}

static enum serve_step take_order(struct vip *vip, const struct order *order)
{
	switch (order->kind) {
	case ORDER_FENCE_CLOSE:
		return serve_close(&vip->serve, order->epoch);
	case ORDER_FENCE_DROP:
		return serve_drop(&vip->serve, order->epoch);
	case ORDER_FENCE_CLIENTS:
		return serve_clients(&vip->serve, order->epoch, order->lease_until_ns,
				     clock_boot_ns());
	default:
		return SERVE_REFUSE;
	}
}

/* Only the end of what is in force moves. */
static int renew(struct vip *vip)
{
	const int rc = set_fence(vip, &vip->serve);

	vip->fence_wrong = rc < 0;
	if (rc < 0)
		retry_later(vip);
	arm_lease_timer(vip);
	return rc;
}

static void on_order(struct vip *vip, const Mha__Bus__Order *message)
{
	static const char *const EVENTS[FENCE_STATE_COUNT] = {
		[FENCE_NONE] = "fence.dropped",
		[FENCE_CLOSED] = "fence.closed",
		[FENCE_OPEN] = "fence.open",
		[FENCE_CLIENTS] = "fence.clients",
	};
	struct order order;
	struct err why = {0};
	const uint8_t before = vip->serve.state;
	const struct held held = held_now(vip);
	enum serve_step step;

	if (order_from_message(message, &order, &why) < 0) {
		log_event(LOG_WARNING, "fence.order", "why=\"%s\"", why.text);
		return;
	}
	log_set_operation(message->operation);
	if (order_executor(order.kind) != EXECUTOR_VIP) {
		send_result(vip, &order, OUTCOME_FAILED, "this order is not for vip");
		return;
	}
	step = take_order(vip, &order);
	if (step == SERVE_REFUSE) {
		char text[ERR_TEXT_SIZE];

		(void)snprintf(text, sizeof(text),
			       "%s of epoch %" PRIu64 ": state %s, epoch %" PRIu64 " is known",
			       order_kind_name(order.kind), order.epoch,
			       fence_state_name(vip->serve.state), vip->serve.epoch);
		report(vip, true);
		send_result(vip, &order, OUTCOME_REFUSED, text);
		return;
	}

	int rc = 0;

	if (step == SERVE_RENEW && !vip->fence_wrong)
		rc = renew(vip);
	else if (step != SERVE_KEEP || vip->fence_wrong)
		rc = enforce(vip);
	note_margin(vip, &held);
	if (vip->serve.state != before)
		log_event(LOG_NOTICE, EVENTS[vip->serve.state], "epoch=%" PRIu64 " order=%" PRIu64,
			  order.epoch, order.id);
	publish(vip);
	report(vip, false);
	send_result(vip, &order, rc < 0 ? OUTCOME_FAILED : OUTCOME_DONE,
		    rc < 0 ? error_text(vip) : "");
	log_set_operation(0);
}

static void vip_message(struct worker *worker, enum route_id route, const ProtobufCMessage *message)
{
	struct vip *vip = worker->self;

	if (route == ROUTE_GRANT)
		on_grant(vip, (const Mha__Bus__Grant *)message);
	else if (route == ROUTE_ORDER_VIP)
		on_order(vip, (const Mha__Bus__Order *)message);
}

static void on_peer(void *arg, enum worker_id peer)
{
	if (peer == WORKER_consensus)
		report(arg, true);
}

static int watch(struct vip *vip, enum handle handle, int fd, uv_poll_cb callback, struct err *why)
{
	uv_poll_t *poll = &vip->polls[handle];
	int rc = uv_poll_init(vip->worker->loop, poll, fd);

	if (rc == 0) {
		poll->data = vip;
		vip->polling[handle] = true;
		rc = uv_poll_start(poll, UV_READABLE, callback);
	}
	return rc < 0 ? err_set(why, ERR_IO, "watch descriptor: %s", uv_strerror(rc)) : 0;
}

static int watch_all(struct vip *vip, struct err *why)
{
	int rc;

	vip->lease_timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (vip->lease_timer < 0)
		return err_set_errno(why, ERR_IO, errno, "lease timer");
	if ((rc = watch(vip, HANDLE_LEASE, vip->lease_timer, on_lease_timer, why)) < 0)
		return rc;
	if (vip->kernel.fence_used &&
	    (rc = watch(vip, HANDLE_FENCE, fence_watch_fd(&vip->kernel.fence), on_fence_event,
			why)) < 0)
		return rc;
	if (vip->kernel.address_used &&
	    (rc = watch(vip, HANDLE_ADDRESS, address_watch_fd(&vip->kernel.address),
			on_address_event, why)) < 0)
		return rc;
	return 0;
}

/*
 * Without a kernel fence only the own status section knows of a lease: what the process before this
 * one published still holds if it has not ended.
 */
static void take_over_from_status(struct vip *vip, uint64_t now_ns, struct serve_found *found)
{
	struct status_vip last;

	if (vip->kernel.fence_used || status_read(&vip->worker->status, &last, NULL) < 0)
		return;
	if ((last.fence != FENCE_OPEN && last.fence != FENCE_CLIENTS) || last.epoch == 0 ||
	    last.until_ns <= now_ns || last.until_ns - now_ns > vip->serve.lease_max_ns)
		return;
	*found = (struct serve_found){
		.state = last.fence, .epoch = last.epoch, .until_ns = last.until_ns};
}

static int take_over(struct vip *vip, struct err *why)
{
	const uint64_t now_ns = clock_boot_ns();
	const uint64_t lease_max_ns = vip->worker->conf.election_ms * MS;
	struct serve_found found;
	int rc;

	if ((rc = kernel_take_over(&vip->kernel, now_ns, &found, why)) < 0) {
		if (vip->worker->conf.fence_kernel == FENCE_MODE_REQUIRED)
			return err_in(why, rc, "fence.kernel is 'required'");
		log_event(LOG_WARNING, "fence.missing",
			  "why=\"%s\" the database is stopped before its lease ends instead",
			  why->text);
		kernel_drop_fence(&vip->kernel);
	}
	vip->serve.lease_max_ns = lease_max_ns;
	strncpy(vip->status.vip, vip->worker->conf.vip_address, sizeof(vip->status.vip) - 1);
	take_over_from_status(vip, now_ns, &found);
	serve_init(&vip->serve, lease_max_ns, &found);
	if (vip->kernel.fence_used)
		vip->fence_ends_ns = vip->serve.until_ns;
	log_event(LOG_NOTICE, "fence.found", "state=%s epoch=%" PRIu64 " kernel_fence=%s",
		  fence_state_name(found.state), found.epoch,
		  vip->kernel.fence_used ? "yes" : "no");
	/* A lease or a standby goes on undisturbed; what is closed is made so in every part. */
	if (found.state == FENCE_CLOSED)
		(void)enforce(vip);
	else
		(void)set_address(vip, found.state == FENCE_OPEN);
	arm_lease_timer(vip);
	return 0;
}

static int vip_start(struct worker *worker, struct err *why)
{
	struct vip *vip = calloc(1, sizeof(*vip));
	int rc;

	if (vip == NULL)
		return err_set(why, ERR_NO_MEMORY, "vip: no memory");
	vip->worker = worker;
	vip->lease_timer = -1;
	vip->incarnation = clock_boot_ns();
	vip->retry_ms = RETRY_MS;
	vip->report_due = true;
	worker->self = vip;
	(void)uv_timer_init(worker->loop, &vip->announce_timer);
	(void)uv_timer_init(worker->loop, &vip->retry_timer);
	vip->announce_timer.data = vip;
	vip->retry_timer.data = vip;
	if ((rc = kernel_open(&vip->kernel, &worker->conf, why)) < 0 ||
	    (rc = watch_all(vip, why)) < 0 || (rc = take_over(vip, why)) < 0)
		return rc;
	bus_watch(worker->bus, on_peer, vip);
	publish(vip);
	report(vip, true);
	return 0;
}

static void vip_reload(struct worker *worker)
{
	struct vip *vip = worker->self;
	struct err why;

	/* Counts from the next fence for clients on. */
	if (kernel_reload(&vip->kernel, &worker->conf, &why) < 0)
		log_event(LOG_ERROR, "vip.reload", "%s; the members stay as they were", why.text);
	/* New gaps and refreshes count from now on. */
	on_announce(&vip->announce_timer);
}

/* What the kernel has stays: the next process goes on with it, or its timeouts end it. */
static void vip_finish(struct worker *worker)
{
	struct vip *vip = worker->self;

	bus_watch(worker->bus, NULL, NULL);
	for (unsigned i = 0; i < HANDLE_POLL_COUNT; i++) {
		if (vip->polling[i])
			(void)uv_poll_stop(&vip->polls[i]);
	}
	(void)uv_timer_stop(&vip->announce_timer);
	(void)uv_timer_stop(&vip->retry_timer);
	kernel_close(&vip->kernel);
	if (vip->lease_timer >= 0)
		(void)close(vip->lease_timer);
	/* `vip` itself holds handles that the loop still knows; it ends with the process. */
}

const struct worker_ops VIP_OPS = {
	.start = vip_start,
	.message = vip_message,
	.reload = vip_reload,
	.finish = vip_finish,
};
