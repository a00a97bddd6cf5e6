/* Answers of the agent as text for people. Pure but for the stream. */
#ifndef MHA_MHACTL_PRINT_H
#define MHA_MHACTL_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include "client.pb-c.h"

void print_list(const Mha__Client__Status *status, bool colours, FILE *to);
void print_status(const Mha__Client__Status *status, bool colours, FILE *to);
void print_history(const Mha__Client__History *history, bool colours, FILE *to);
void print_events(const Mha__Client__Events *events, FILE *to);

#endif
