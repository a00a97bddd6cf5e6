/* Parts that entries and snapshots share; internal to common/wire. */
#ifndef MHA_WIRE_LOG_PARTS_H
#define MHA_WIRE_LOG_PARTS_H

#include "base/err.h"
#include "core/cluster.h"
#include "log.pb-c.h"

struct decision_message {
	Mha__Log__Decision decision;
	Mha__Bus__SyncRule before;
	Mha__Bus__SyncRule after;
	Mha__Log__SurveyAnswer answers[NODES_MAX];
	Mha__Log__SurveyAnswer *answer_list[NODES_MAX];
};

/* Each *_from_message() refuses a NULL message: the part is missing. */
void decision_to_message(const struct decision *decision, struct decision_message *out);
MUST_CHECK int decision_from_message(const Mha__Log__Decision *message, struct decision *decision,
				     struct err *why);

void settings_to_message(const struct settings *settings, Mha__Log__Settings *out);
MUST_CHECK int settings_from_message(const Mha__Log__Settings *message, struct settings *settings,
				     struct err *why);

void operation_to_message(const struct operation *operation, Mha__Log__Operation *out);
MUST_CHECK int operation_from_message(const Mha__Log__Operation *message,
				      struct operation *operation, struct err *why);

#endif
