/* Measuring what `mhactl doctor` judges: host, files, kernel, ports and the database. */
#ifndef MHA_MHACTL_PROBE_H
#define MHA_MHACTL_PROBE_H

#include "mhactl/doctor.h"

/*
 * Each fills its part of `facts`, and leaves what it cannot know as it is. They need facts->root,
 * and from probe_secrets() on facts->conf; probe_limits() and probe_ports() facts->status.
 */
void probe_host(struct doctor_facts *facts);
void probe_limits(struct doctor_facts *facts);
void probe_conf_file(struct doctor_facts *facts);
void probe_secrets(struct doctor_facts *facts);
void probe_fence(struct doctor_facts *facts);
void probe_disks(struct doctor_facts *facts);
/* Of members that are not heard, or do not stream: at most a second each. */
void probe_ports(struct doctor_facts *facts);
/* As the database's own user, in a child that gives root up; ends after 10 s at the latest. */
void probe_database(struct doctor_facts *facts);

#endif
