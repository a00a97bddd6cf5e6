#include "kernel.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

/* `off` after `automatic`: the rules of an earlier start would keep the port shut for ever. */
static void remove_leftovers(uint16_t port, uint64_t cluster, const struct peers *peers)
{
	struct fence fence;
	struct err why = {0};

	if (fence_open(&fence, port, cluster, peers, NULL) < 0)
		return;
	if (fence_remove(&fence, &why) < 0)
		log_event(LOG_WARNING, "fence.leftovers", "why=\"%s\"", why.text);
	fence_close(&fence);
}

static int open_fence(struct kernel *kernel, const struct conf *conf, uint16_t port,
		      struct err *why)
{
	const uint64_t cluster = conf_cluster_digest(conf);
	int rc;

	if (conf->fence_kernel == FENCE_MODE_OFF) {
		remove_leftovers(port, cluster, &kernel->peers);
		return 0;
	}
	if ((rc = fence_open(&kernel->fence, port, cluster, &kernel->peers, why)) == 0) {
		kernel->fence_used = true;
		return 0;
	}
	if (conf->fence_kernel == FENCE_MODE_REQUIRED)
		return err_in(why, rc, "fence.kernel is 'required'");
	log_event(LOG_WARNING, "fence.missing",
		  "why=\"%s\" the database is stopped before its lease ends instead", why->text);
	return 0;
}

static int open_address(struct kernel *kernel, const struct conf *conf, struct err *why)
{
	struct ip_prefix ip;
	int rc;

	if (conf->vip_address[0] == '\0')
		return 0;
	if ((rc = ip_prefix_parse(&ip, conf->vip_address, why)) < 0)
		return err_in(why, rc, "vip.address");
	if ((rc = address_open(&kernel->address, &ip, conf->vip_interface, why)) < 0)
		return rc;
	kernel->address_used = true;
	peer_address_set(&kernel->vip, ip.family, ip.bytes);
	if (kernel->address.index == 0)
		log_event(LOG_WARNING, "vip.interface",
			  "interface=%s there is no such interface; waiting for it",
			  conf->vip_interface);
	return 0;
}

int kernel_open(struct kernel *kernel, const struct conf *conf, struct err *why)
{
	const uint16_t port = (uint16_t)conf_self(conf)->postgres_port;
	int rc;

	*kernel = (struct kernel){.fence_used = false};
	if ((rc = peers_from_conf(&kernel->peers, conf, why)) < 0 ||
	    (rc = open_fence(kernel, conf, port, why)) < 0 ||
	    (rc = open_address(kernel, conf, why)) < 0 ||
	    (rc = destroyer_open(&kernel->destroyer, port, why)) < 0) {
		kernel_close(kernel);
		return rc;
	}
	kernel->destroyer_used = true;
	return 0;
}

int kernel_reload(struct kernel *kernel, const struct conf *conf, struct err *why)
{
	struct peers peers;
	int rc = peers_from_conf(&peers, conf, why);

	if (rc < 0)
		return rc;
	kernel->peers = peers;
	if (kernel->fence_used)
		kernel->fence.peers = peers;
	return 0;
}

void kernel_close(struct kernel *kernel)
{
	if (kernel->fence_used)
		fence_close(&kernel->fence);
	if (kernel->address_used)
		address_close(&kernel->address);
	if (kernel->destroyer_used)
		destroyer_close(&kernel->destroyer);
	*kernel = (struct kernel){.fence_used = false};
}

int kernel_take_over(struct kernel *kernel, uint64_t now_ns, struct serve_found *found,
		     struct err *why)
{
	struct fence_rule rule = {.admits = FENCE_ADMITS_NOBODY};

	*found = (struct serve_found){.state = FENCE_CLOSED};
	if (!kernel->fence_used)
		return 0;
	/* No table, no set, an unknown element: nothing is proven, so it is closed. */
	if (fence_read(&kernel->fence, &rule, NULL) < 0)
		rule.admits = FENCE_ADMITS_NOBODY;
	if (rule.admits == FENCE_ADMITS_ALL)
		found->state = FENCE_NONE;
	if (fence_rule_ends(&rule)) {
		*found = (struct serve_found){
			.state = rule.admits == FENCE_ADMITS_LEASE ? FENCE_OPEN : FENCE_CLIENTS,
			.epoch = rule.epoch,
			.until_ns = now_ns + rule.timeout_ms * MS,
		};
	}
	return fence_install(&kernel->fence, &rule, rule.admits != FENCE_ADMITS_NOBODY, why);
}

static struct fence_rule rule_for(const struct serve *serve, uint64_t now_ns)
{
	switch (serve->state) {
	case FENCE_OPEN:
	case FENCE_CLIENTS:
		return (struct fence_rule){
			.admits = serve->state == FENCE_OPEN ? FENCE_ADMITS_LEASE
							     : FENCE_ADMITS_PEERS,
			.epoch = serve->epoch,
			.timeout_ms = serve_timeout_ms(serve, now_ns),
		};
	case FENCE_NONE:
		return (struct fence_rule){.admits = FENCE_ADMITS_ALL, .epoch = serve->epoch};
	default:
		return (struct fence_rule){.admits = FENCE_ADMITS_NOBODY};
	}
}

static int tell_fence(struct kernel *kernel, const struct fence_rule *rule, struct err *why)
{
	int rc = fence_set(&kernel->fence, rule, why);

	/* Somebody removed the table (a firewall reload does); it comes back with the right state.
	 */
	if (rc == ERR_NOT_FOUND)
		rc = fence_install(&kernel->fence, rule, false, why);
	return rc;
}

int kernel_set_fence(struct kernel *kernel, const struct serve *serve, uint64_t *ends_ns,
		     struct err *why)
{
	static const struct fence_rule NOBODY = {.admits = FENCE_ADMITS_NOBODY};
	uint64_t now_ns = clock_boot_ns();
	bool told = false;

	*ends_ns = 0;
	for (;;) {
		const struct fence_rule rule = rule_for(serve, now_ns);
		int rc;

		if (fence_rule_ends(&rule) && rule.timeout_ms == 0) {
			if (told && (rc = tell_fence(kernel, &NOBODY, why)) < 0)
				return rc;
			return err_set(why, ERR_STALE, "the lease ends in less than a millisecond");
		}
		if (!kernel->fence_used)
			return 0;
		if ((rc = tell_fence(kernel, &rule, why)) < 0)
			return rc;
		if (!fence_rule_ends(&rule))
			return 0;
		told = true;
		now_ns = clock_boot_ns();
		*ends_ns = now_ns + rule.timeout_ms * MS;
		if (*ends_ns <= serve->until_ns)
			return 0;
	}
}

bool kernel_fence_stands(struct kernel *kernel, const struct serve *serve)
{
	struct fence_rule rule;

	if (!kernel->fence_used)
		return true;
	if (!fence_is_whole(&kernel->fence) || fence_read(&kernel->fence, &rule, NULL) < 0)
		return false;
	return serve_leased(serve) || rule.admits == rule_for(serve, 0).admits;
}

int kernel_restore_fence(struct kernel *kernel, const struct serve *serve, uint64_t now_ns,
			 struct err *why)
{
	struct fence_rule rule = rule_for(serve, now_ns);

	if (fence_rule_ends(&rule) && rule.timeout_ms == 0)
		rule.admits = FENCE_ADMITS_NOBODY;
	return fence_install(&kernel->fence, &rule, false, why);
}

void kernel_drop_fence(struct kernel *kernel)
{
	if (kernel->fence_used)
		fence_close(&kernel->fence);
	kernel->fence_used = false;
}

int kernel_set_address(struct kernel *kernel, const struct serve *serve, uint64_t now_ns,
		       bool *added, struct err *why)
{
	struct address *address = &kernel->address;
	const uint32_t lifetime_s = serve_lifetime_s(serve, now_ns);
	int rc;

	*added = false;
	if (!kernel->address_used)
		return 0;
	if (lifetime_s == 0) {
		kernel->address_until_ns = 0;
		return address_delete(address, why);
	}
	/* Whole seconds, rounded up: what was given last time often reaches far enough. */
	if (address->present && kernel->address_until_ns >= serve->until_ns)
		return 0;

	const bool was_present = address->present;

	if ((rc = address_add(address, lifetime_s, why)) < 0)
		return rc;
	kernel->address_until_ns = now_ns + lifetime_s * S;
	*added = !was_present && address->present;
	return 0;
}

int kernel_end_sessions(struct kernel *kernel, const struct serve *serve, unsigned *ended,
			struct err *why)
{
	const struct peers *spared = serve->state == FENCE_CLIENTS ? &kernel->peers : NULL;
	const struct peer_address *vip = kernel->address_used ? &kernel->vip : NULL;
	const int rc = destroyer_run(&kernel->destroyer, spared, vip, ended, why);

	if (rc == ERR_NOT_FOUND) {
		log_event(LOG_DEBUG, "fence.sessions", "why=\"%s\"", why->text);
		return 0;
	}
	return rc;
}
