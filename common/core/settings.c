#include "core/settings.h"

bool settings_sane(const struct settings *settings, unsigned data)
{
	return settings->mode >= MODE_MAX_PROTECTION && settings->mode < MODE_COUNT &&
	       (settings->quorum_sync == 0 || settings->quorum_sync < data) &&
	       ((settings->maintenance | settings->reinit) &
		~(((node_set)1 << (NODES_MAX + 1)) - 2)) == 0 &&
	       settings->failover_budget < DECISIONS_MAX;
}

uint8_t settings_sync_need(const struct settings *settings, unsigned data)
{
	if (settings->mode == MODE_MAX_PERFORMANCE || data < 2)
		return 0;
	if (settings->quorum_sync == 0)
		return (uint8_t)(data / 2);
	return settings->quorum_sync < data ? settings->quorum_sync : (uint8_t)(data - 1);
}

struct settings settings_default(unsigned data)
{
	return (struct settings){
		.mode = data == 2 ? MODE_MAX_AVAILABILITY : MODE_MAX_PROTECTION,
		.auto_failover = true,
		.max_lag_bytes = UINT64_C(16) << 20,
		.max_lag_ms = 10000,
		.degrade_ms = 2000,
		.switch_back_ms = 60000,
	};
}
