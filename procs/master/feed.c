#include "feed.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "os/clock.h"

#define NS_PER_MS UINT64_C(1000000)
/* What dbmon has said longer ago says nothing. */
#define DATABASE_FRESH_NS (5000 * NS_PER_MS)

enum feed_step feed_decide(bool armed, const struct feed_view *view)
{
	if (view->leased)
		return FEED_ARM;
	if (!armed)
		return FEED_REST;
	return view->fenced || view->harmless ? FEED_DISARM : FEED_STARVE;
}

static void say(struct feed *feed, enum watchdog_state state, const char *error)
{
	feed->status->state = (uint8_t)state;
	memset(feed->status->error, 0, sizeof(feed->status->error));
	if (error != NULL)
		strncat(feed->status->error, error, sizeof(feed->status->error) - 1);
}

int feed_open(struct feed *feed, const struct conf *conf, struct status_watchdog *status,
	      struct err *why)
{
	struct err failure;
	int rc;

	*feed = (struct feed){.mode = conf->watchdog_mode,
			      .device = conf->watchdog_device,
			      .run_dir = conf->run_dir,
			      .timeout_s = (uint32_t)((conf->watchdog_ms + 999) / 1000),
			      .watchdog = {.fd = -1},
			      .status = status};
	if (conf_self(conf)->kind != MEMBER_DATA)
		feed->mode = WATCHDOG_OFF;
	say(feed, WATCHDOG_STATE_OFF, NULL);
	if (feed->mode == WATCHDOG_OFF)
		return 0;
	rc = watchdog_arm(&feed->watchdog, feed->device, feed->timeout_s, &failure);
	if (rc == 0)
		rc = watchdog_disarm(&feed->watchdog, &failure);
	if (rc < 0 && feed->mode == WATCHDOG_REQUIRED)
		return err_set(why, rc, "watchdog.mode is 'required': %s", failure.text);
	if (rc < 0) {
		log_event(LOG_WARNING, "watchdog.unavailable", "%s; going on without",
			  failure.text);
		say(feed, WATCHDOG_STATE_UNAVAILABLE, failure.text);
		return 0;
	}
	status->timeout_s = feed->watchdog.timeout_s;
	say(feed, WATCHDOG_STATE_READY, NULL);
	log_event(LOG_NOTICE, "watchdog.ready", "device=%s driver=\"%s\" timeout_s=%u",
		  feed->device, feed->watchdog.identity, feed->watchdog.timeout_s);
	return 0;
}

/* A copy of the section, on the heap because consensus' is large; NULL: it cannot be read. */
static void *section_read(const struct feed *feed, struct status_map *map,
			  enum status_section_id id)
{
	void *copy;

	if (map->base == NULL && status_open_read(map, id, feed->run_dir, NULL) < 0) {
		map->base = NULL;
		return NULL;
	}
	copy = calloc(1, status_section_size(id));
	if (copy != NULL && status_read(map, copy, NULL) < 0) {
		free(copy);
		copy = NULL;
	}
	return copy;
}

static void look(struct feed *feed, struct feed_view *view)
{
	const uint64_t now = clock_boot_ns();
	struct status_consensus *consensus = section_read(feed, &feed->consensus, STATUS_CONSENSUS);
	struct status_vip *vip = section_read(feed, &feed->vip, STATUS_VIP);
	struct status_dbmon *dbmon = section_read(feed, &feed->dbmon, STATUS_DBMON);

	*view = (struct feed_view){.leased = false};
	if (consensus != NULL)
		view->leased = !consensus->failed && consensus->lease_until_ns > now;
	/* Without nftables a closed fence is only an address that was taken away. */
	if (vip != NULL && vip->kernel_fence)
		view->fenced = vip->fence == FENCE_CLOSED ||
			       (vip->fence != FENCE_NONE && vip->until_ns <= now);
	if (dbmon != NULL && dbmon->updated_ns <= now &&
	    now - dbmon->updated_ns < DATABASE_FRESH_NS)
		view->harmless = dbmon->facts.db == DB_STANDBY || dbmon->facts.db == DB_DOWN ||
				 dbmon->facts.db == DB_ABSENT;
	free(consensus);
	free(vip);
	free(dbmon);
}

static int arm(struct feed *feed, struct err *why)
{
	struct status_watchdog *status = feed->status;
	const bool armed = feed->watchdog.fd >= 0;
	struct err failure;
	const int rc =
		armed ? watchdog_feed(&feed->watchdog, &failure)
		      : watchdog_arm(&feed->watchdog, feed->device, feed->timeout_s, &failure);

	if (rc == 0) {
		status->feeds++;
		if (!armed) {
			status->armings++;
			log_event(LOG_NOTICE, "watchdog.armed", "device=%s timeout_s=%u",
				  feed->device, feed->watchdog.timeout_s);
		}
		say(feed, WATCHDOG_STATE_ARMED, NULL);
		return 0;
	}
	if (feed->mode == WATCHDOG_REQUIRED)
		return err_set(why, rc, "watchdog.mode is 'required': %s", failure.text);
	if (status->state != WATCHDOG_STATE_UNAVAILABLE)
		log_event(LOG_ERROR, "watchdog.unavailable", "%s", failure.text);
	say(feed, WATCHDOG_STATE_UNAVAILABLE, failure.text);
	return 0;
}

static void disarm(struct feed *feed)
{
	struct err why;

	if (watchdog_disarm(&feed->watchdog, &why) < 0) {
		log_event(LOG_ERROR, "watchdog.disarm", "%s; it may reset this host", why.text);
		say(feed, WATCHDOG_STATE_UNAVAILABLE, why.text);
		return;
	}
	log_event(LOG_NOTICE, "watchdog.disarmed", "device=%s", feed->device);
	say(feed, WATCHDOG_STATE_READY, NULL);
}

static void starve(struct feed *feed)
{
	if (feed->status->state == WATCHDOG_STATE_STARVING)
		return;
	feed->status->starvations++;
	log_event(LOG_ERROR, "watchdog.starving",
		  "the lease has ended and it is not known that the database is fenced or stopped: "
		  "the watchdog resets this host in %u s",
		  feed->watchdog.timeout_s);
	say(feed, WATCHDOG_STATE_STARVING, NULL);
}

int feed_turn(struct feed *feed, bool *changed, struct err *why)
{
	const struct status_watchdog before = *feed->status;
	struct feed_view view;
	int rc = 0;

	*changed = false;
	if (feed->mode == WATCHDOG_OFF)
		return 0;
	look(feed, &view);
	switch (feed_decide(feed->watchdog.fd >= 0, &view)) {
	case FEED_ARM:
		rc = arm(feed, why);
		break;
	case FEED_STARVE:
		starve(feed);
		break;
	case FEED_DISARM:
		disarm(feed);
		break;
	case FEED_REST:
		break;
	}
	*changed = memcmp(&before, feed->status, sizeof(before)) != 0;
	return rc;
}

void feed_close(struct feed *feed)
{
	if (feed->watchdog.fd >= 0)
		disarm(feed);
	if (feed->consensus.base != NULL)
		status_close(&feed->consensus);
	if (feed->vip.base != NULL)
		status_close(&feed->vip);
	if (feed->dbmon.base != NULL)
		status_close(&feed->dbmon);
}
