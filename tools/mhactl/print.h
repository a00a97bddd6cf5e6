/* Answers of the agent as text for people. Pure but for the stream. */
#ifndef MHA_MHACTL_PRINT_H
#define MHA_MHACTL_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include "client.pb-c.h"

void print_list(const Mha__Client__Status *status, bool colours, FILE *to);
/* Who streams from whom, as a tree; then the members that stream from nobody. */
void print_topology(const Mha__Client__Status *status, bool colours, FILE *to);
void print_status(const Mha__Client__Status *status, bool colours, FILE *to);
void print_history(const Mha__Client__History *history, bool colours, FILE *to);
/* How a call ended, with every blocker and its remedy; `verb` is what was typed. */
void print_call_reply(const Mha__Client__CallReply *reply, const char *verb, bool colours,
		      FILE *to);
void print_operation_end(const Mha__Client__Operation *operation, FILE *to);
/* One line of what passes while an operation goes on. */
void print_progress(const Mha__Client__Event *event, FILE *to);
/* Why nobody is primary, or why the primary is who it is. */
void print_why(const Mha__Client__Status *status, const Mha__Client__History *history, FILE *to);
void print_events(const Mha__Client__Events *events, FILE *to);

#endif
