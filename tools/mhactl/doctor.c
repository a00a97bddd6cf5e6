/* `mhactl doctor`: measure, judge, show. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mhactl/command.h"
#include "mhactl/doctor.h"
#include "mhactl/table.h"
#include "os/clock.h"
#include "probe.h"
#include "view/json.h"

/* Everything that a run needs; too big for a stack. */
struct examination {
	struct doctor_facts facts;
	struct conf conf;
	struct source source;
	struct sections sections;
	struct findings found;
};

static void read_conf(struct examination *run, const char *path)
{
	struct doctor_facts *facts = &run->facts;

	facts->conf_path = path;
	if (conf_read(&run->conf, path, &facts->conf_why) == 0)
		facts->conf = &run->conf;
	probe_conf_file(facts);
}

static void read_segment(struct examination *run, const char *run_dir)
{
	struct err why = {0};

	if (source_init(&run->source, run_dir, &why) < 0)
		return;
	source_read(&run->source, &run->sections);
	source_fini(&run->source);
	if (!sections_empty(&run->sections))
		run->facts.segment = &run->sections;
}

static void examine(struct examination *run, const struct command_line *line,
		    struct fetched *fetched)
{
	struct doctor_facts *facts = &run->facts;
	struct fetch_from from = line->from;

	facts->root = geteuid() == 0;
	facts->local = from.endpoint == NULL && from.remote.host == NULL;
	facts->landlock = -1;
	facts->version = view_version();
	facts->now_ns = clock_boot_ns();
	if (facts->local) {
		read_conf(run, line->config);
		/* The file says where the agent is, unless the command line does. */
		if (facts->conf != NULL && !line->run_dir_given)
			from.run_dir = facts->conf->run_dir;
		probe_host(facts);
		read_segment(run, from.run_dir);
	}
	if (fetch_status(&from, fetched, &facts->status_why) == 0)
		facts->status = fetched->status;
	if (fetched->from_segment)
		facts->status_why = fetched->agent_why;
	if (!facts->local)
		return;
	probe_limits(facts);
	probe_secrets(facts);
	probe_fence(facts);
	probe_disks(facts);
	probe_ports(facts);
	probe_database(facts);
}

static json_t *to_json(const struct examination *run)
{
	const struct findings *found = &run->found;
	const Mha__Client__Status *status = run->facts.status;
	json_t *list = json_array();

	for (unsigned i = 0; i < found->count; i++) {
		const struct finding *finding = &found->list[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o, s:o}", "level",
						      finding_level_name(finding->level), "area",
						      finding->area, "name", finding->name, "text",
						      json_text(finding->text), "remedy",
						      json_text(finding->remedy)));
	}
	return json_pack("{s:o, s:i, s:i, s:o}", "node",
			 json_text(status != NULL ? status->node : ""), "errors",
			 (int)findings_count(found, FINDING_ERROR), "warnings",
			 (int)findings_count(found, FINDING_WARNING), "findings", list);
}

static void print_findings(const struct findings *found, bool colours)
{
	static const enum table_style styles[FINDING_LEVEL_COUNT] = {
		[FINDING_OK] = STYLE_GOOD,
		[FINDING_WARNING] = STYLE_STRONG,
		[FINDING_ERROR] = STYLE_BAD,
	};
	const char *area = "";

	for (unsigned i = 0; i < found->count; i++) {
		const struct finding *finding = &found->list[i];

		if (strcmp(area, finding->area) != 0)
			printf("%s\n", finding->area);
		area = finding->area;
		printf("  %s%-8s%s%s\n", style_on(styles[finding->level], colours),
		       finding_level_name(finding->level),
		       style_off(styles[finding->level], colours), finding->text);
		if (finding->level != FINDING_OK && finding->remedy[0] != '\0')
			printf("          -> %s\n", finding->remedy);
	}
	printf("%u error(s), %u warning(s)\n", findings_count(found, FINDING_ERROR),
	       findings_count(found, FINDING_WARNING));
}

int run_doctor(const struct command_line *line, struct fetched *fetched)
{
	struct examination *run = calloc(1, sizeof(*run));
	int status = EXIT_DONE;

	if (run == NULL) {
		fputs("mhactl: out of memory\n", stderr);
		return EXIT_ERROR;
	}
	examine(run, line, fetched);
	doctor_judge(&run->facts, &run->found);
	if (line->json)
		status = command_json(to_json(run));
	else
		print_findings(&run->found, line->colours);
	if (status == EXIT_DONE && findings_count(&run->found, FINDING_ERROR) > 0)
		status = EXIT_FOUND;
	free(run);
	return status;
}
