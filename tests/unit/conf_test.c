/* The configuration: what is accepted, everything that is refused and how, print and reload. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/conf.h"

#define EXPECT cr_assert

#define KEY_A "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define KEY_B "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define KEY_C "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"
#define KEY_D "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%ct"

/* Line numbers in the tests below count from here. */
static const char BASE[] =
	"cluster:\n"                                                                /* 1 */
	"  name: main\n"                                                            /* 2 */
	"  id: 3D1F0A52-6a0e-4d5c-8f55-0d2f1f0c9b7e\n"                              /* 3 */
	"node:\n"                                                                   /* 4 */
	"  name: node-a\n"                                                          /* 5 */
	"timing:\n"                                                                 /* 6 */
	"  tick: 5ms\n"                                                             /* 7 */
	"postgresql:\n"                                                             /* 8 */
	"  data_dir: /srv/pg\n"                                                     /* 9 */
	"  replication_password_file: /etc/mha4rdb/password\n"                      /* 10 */
	"members:\n"                                                                /* 11 */
	"  - {name: node-a, id: 1, address: 10.0.0.1, public_key: \"" KEY_A "\"}\n" /* 12 */
	"  - {name: node-b, id: 2, address: 10.0.0.2, public_key: \"" KEY_B "\"}\n" /* 13 */
	"  - {name: node-c, id: 3, kind: witness, address: 10.0.0.3, "
	"public_key: \"" KEY_C "\"}\n"; /* 14 */

static int parse_bytes(struct conf *conf, const char *text, size_t size, struct err *why)
{
	const int fd = memfd_create("conf", MFD_CLOEXEC);
	int rc;

	EXPECT(fd >= 0 && write(fd, text, size) == (ssize_t)size);
	rc = conf_read_fd(conf, fd, "test.conf", why);
	close(fd);
	return rc;
}

static int parse(struct conf *conf, const char *text, struct err *why)
{
	return parse_bytes(conf, text, strlen(text), why);
}

/* BASE with the first `from` replaced. */
static char *replaced(const char *base, const char *from, const char *to)
{
	const char *at = strstr(base, from);
	char *text = malloc(strlen(base) + strlen(to) + 1);

	EXPECT(text != NULL && at != NULL, "no \"%s\" in the text", from);
	sprintf(text, "%.*s%s%s", (int)(at - base), base, to, at + strlen(from));
	return text;
}

static char *printed(const struct conf *conf)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	struct err why;

	EXPECT(stream != NULL);
	EXPECT(conf_print(conf, stream, &why) == 0);
	fclose(stream);
	return text;
}

Test(conf, values_and_defaults_are_what_the_table_says)
{
	static struct conf conf;
	struct err why;

	EXPECT(parse(&conf, BASE, &why) == 0, "%s", why.text);
	EXPECT(strcmp(conf.cluster_name, "main") == 0);
	EXPECT(strcmp(conf.cluster_id, "3d1f0a52-6a0e-4d5c-8f55-0d2f1f0c9b7e") == 0,
	       "one spelling of the UUID: %s", conf.cluster_id);
	EXPECT(conf.tick_ms == 5 && conf.election_ms == 1000);
	EXPECT(strcmp(conf.state_dir, "/var/lib/mha4rdb") == 0);
	EXPECT(conf.log_level == LOG_NOTICE && conf.on_stop == STOP_LEAVE);
	EXPECT(conf.fence_kernel == FENCE_MODE_AUTOMATIC);
	EXPECT(conf.member_count == 3 && conf.self == 0);
	EXPECT(conf.members[0].kind == MEMBER_DATA && conf.members[2].kind == MEMBER_WITNESS);
	EXPECT(conf.members[1].peer_port == 7400 && conf.members[1].postgres_port == 5432);
	EXPECT(conf.members[1].priority == 100);
	EXPECT(conf_self(&conf) == &conf.members[0]);
	EXPECT(conf_member_by_id(&conf, 3) == &conf.members[2]);
	EXPECT(conf_member_by_id(&conf, 4) == NULL);
	EXPECT(conf_cluster_digest(&conf) != 0);
	EXPECT(conf_sync_need(&conf) == 1, "half of two data nodes");
}

Test(conf, the_digest_follows_the_cluster_and_not_its_spelling)
{
	static struct conf a, b, c;
	struct err why;
	char *lower = replaced(BASE, "3D1F0A52", "3d1f0a52");
	char *other = replaced(BASE, "3D1F0A52", "3d1f0a53");

	EXPECT(parse(&a, BASE, &why) == 0 && parse(&b, lower, &why) == 0 &&
	       parse(&c, other, &why) == 0);
	EXPECT(conf_cluster_digest(&a) == conf_cluster_digest(&b));
	EXPECT(conf_cluster_digest(&a) != conf_cluster_digest(&c));
	free(lower);
	free(other);
}

Test(conf, durations_have_units)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} cases[] = {{"150ms", 150},
		     {"2s", 2000},
		     {"0.5s", 0},
		     {"30s", 30000},
		     {"30001ms", 0},
		     {"149ms", 0},
		     {"1000", 0},
		     {"1 s", 0},
		     {"-1s", 0},
		     {"1e3ms", 0},
		     {"99999999999999999999s", 0},
		     {"18446744073709551615s", 0},
		     {"18446744073709551s", 0}};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		static struct conf conf;
		struct err why;
		char line[128];
		char *text;

		snprintf(line, sizeof(line), "  election_timeout: %s\n", cases[i].text);
		text = replaced(BASE, "  tick: 5ms\n", line);
		if (cases[i].ms != 0) { /* tick's default is 10 ms */
			EXPECT(parse(&conf, text, &why) == 0, "%s: %s", cases[i].text, why.text);
			EXPECT(conf.election_ms == cases[i].ms, "%s", cases[i].text);
		} else {
			EXPECT(parse(&conf, text, &why) == ERR_INVALID, "%s", cases[i].text);
			EXPECT(strstr(why.text, "test.conf:7: timing.election_timeout: ") != NULL,
			       "%s", why.text);
		}
		free(text);
	}
}

struct refusal {
	const char *from;
	const char *to;
	const char *words; /* of the error */
};

static void expect_refused(const struct refusal *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		static struct conf conf;
		struct err why = {.text = ""};
		char *text = replaced(BASE, cases[i].from, cases[i].to);

		EXPECT(parse(&conf, text, &why) == ERR_INVALID, "accepted: %s", cases[i].to);
		EXPECT(strstr(why.text, cases[i].words) != NULL, "\"%s\" is not in \"%s\"",
		       cases[i].words, why.text);
		free(text);
	}
}

Test(conf, syntax_and_structure_are_refused_by_line_and_key)
{
	static const struct refusal cases[] = {
		{"  name: main", "  name: [main]",
		 "test.conf:2: cluster.name: one value is expected"},
		{"  name: main", "  name:", "test.conf:2: cluster.name: no value is given"},
		{"  name: main", "  name: ~", "no value is given"},
		{"  name: main", "  name: \"ma\\tin\"", "holds a control character (byte 9)"},
		{"  name: main", "  name: \"ma\\0in\"", "holds a control character (byte 0)"},
		{"  name: main", "  name: main\n  name: other",
		 "test.conf:3: cluster.name: is given twice, first in line 2"},
		{"  name: main", "  colour: red", "test.conf:2: cluster.colour: unknown key"},
		{"  name: main", "  name: main\n  ~: x", "no value is given"},
		{"  name: main\n", "", "cluster.name: is required and missing"},
		{"node:\n  name: node-a\n", "", "node.name: is required and missing"},
		{"timing:", "cluster:", "test.conf:6: cluster: is given twice"},
		{"timing:", "timer:", "test.conf:6: timer: unknown key"},
		{"timing:\n  tick: 5ms", "timing: 5ms", "test.conf:6: timing: a map (key: value)"},
		{"timing:\n  tick: 5ms", "timing: []", "a map (key: value)"},
		{"timing:", "\ttiming:", "test.conf:6: no valid YAML"},
		{"  tick: 5ms", "  tick: 'x", "no valid YAML"},
		{"  tick: 5ms", "  tick: *nowhere", "no valid YAML"},
		{"cluster:", "---\ncluster:\n  name: x\n---\ncluster:", "cluster.id: is required"},
		{"members:\n", "members:\n  name: x\nmembers2:\n", "test.conf:12: members: a list"},
		{"members:", "members: []\nmembers:", "test.conf:12: members: is given twice"},
		{"{name: node-b", "[name: node-b", "no valid YAML"},
		{"  - {name: node-b", "  - node-b\n  - {name: node-b",
		 "members: a map (key: value)"},
		{"name: node-b", "name: node-b, name: node-b",
		 "test.conf:13: members[1].name: is given twice"},
		{"name: node-b", "name: node-b, colour: red",
		 "test.conf:13: members[1].colour: unknown key"},
		{"name: node-b, ", "", "test.conf:13: members[1].name: is required and missing"},
		{"id: 2, ", "", "members[1].id: is required and missing"},
		{"id: 2", "id: 0", "0 is out of range, 1 to 9"},
		{"id: 2", "id: 10", "10 is out of range"},
		{"id: 2", "id: two", "\"two\" is no whole number"},
		{"id: 2", "id: 2, kind: judge", "\"judge\" is none of data witness"},
		{", public_key: \"" KEY_B "\"", "",
		 "members[1].public_key: is required and missing"},
	};

	expect_refused(cases, COUNT_OF(cases));
}

Test(conf, other_documents_and_empty_files_are_refused)
{
	static struct conf conf;
	struct err why;
	char *two = malloc(sizeof(BASE) + 32);

	EXPECT(two != NULL);
	snprintf(two, sizeof(BASE) + 32, "%s---\nx: y\n", BASE);
	EXPECT(parse(&conf, two, &why) == ERR_INVALID);
	EXPECT(strstr(why.text, "a second document") != NULL, "%s", why.text);
	free(two);
	EXPECT(parse(&conf, "", &why) == ERR_INVALID);
	EXPECT(strstr(why.text, "is empty") != NULL, "%s", why.text);
	EXPECT(parse(&conf, "# only a comment\n", &why) == ERR_INVALID);
	EXPECT(parse(&conf, "- a list\n", &why) == ERR_INVALID);
	EXPECT(parse(&conf, "\xff\xfe\x00", &why) == ERR_INVALID);
	EXPECT(strstr(why.text, "test.conf: byte 0") != NULL, "%s", why.text);
	EXPECT(conf_read(&conf, "/nonexistent/mha4rdb.conf", &why) == ERR_NOT_FOUND);
	EXPECT(strstr(why.text, "/nonexistent/mha4rdb.conf") != NULL, "%s", why.text);
	EXPECT(conf_read(&conf, "/", &why) == ERR_IO);
}

Test(conf, a_file_too_big_is_refused_unread)
{
	static struct conf conf;
	const size_t size = (size_t)300 * 1024;
	char *text = malloc(size);
	struct err why;

	EXPECT(text != NULL);
	memset(text, '#', size);
	EXPECT(parse_bytes(&conf, text, size, &why) == ERR_TOO_BIG, "%s", why.text);
	free(text);
}

Test(conf, values_are_refused_by_their_form)
{
	static const struct refusal cases[] = {
		{"name: main", "name: Main", "cluster.name: must be lower-case"},
		{"name: main", "name: a123456789b123456789c123456789d12345",
		 "characters are too many, at most 32"},
		{"id: 3D1F0A52", "id: 3D1F0A5", "test.conf:3: cluster.id: must be a UUID"},
		{"id: 3D1F0A52", "id: 3D1F0A5z", "must be a UUID"},
		{"  name: node-a", "  name: node-z", "test.conf:5: node.name: node-z is not among"},
		{"  name: node-a", "  name: ../a", "node.name: must be lower-case"},
		{"tick: 5ms", "tick: 101ms", "timing.tick: 101ms is more than a tenth of"},
		{"/srv/pg", "srv/pg", "test.conf:9: postgresql.data_dir: must be an absolute path"},
		{"/srv/pg", "/", "must be an absolute path"},
		{"/srv/pg", "/srv/../pg", "must be an absolute path"},
		{"/srv/pg", "/srv//pg", "must be an absolute path"},
		{"/srv/pg", "/srv/pg/", "must be an absolute path"},
		{"/srv/pg", "\"/srv/p'g\"", "must be an absolute path"},
		{"/srv/pg", "\"/srv/p g\"", "must be an absolute path"},
		{"timing:",
		 "paths:\n  run_dir: /" /* 79 characters */
		 "r123456789r123456789r123456789r123456789r123456789r123456789r12345678"
		 "9r1234567\ntiming:",
		 "paths.run_dir: is too long for socket names, at most 78"},
		{"timing:", "vip:\n  address: 10.0.0.9\n  interface: eth0\ntiming:",
		 "test.conf:7: vip.address: must be address/prefix"},
		{"timing:", "vip:\n  address: 10.0.0.9/33\n  interface: eth0\ntiming:",
		 "must be address/prefix"},
		{"timing:", "vip:\n  address: ff02::1/64\n  interface: eth0\ntiming:",
		 "must be address/prefix"},
		{"timing:", "vip:\n  address: 10.0.0.9/24\n  interface: a/b\ntiming:",
		 "is no name of a network interface"},
		{"timing:", "vip:\n  announce_count: 11\ntiming:", "11 is out of range, 1 to 10"},
		{"timing:", "http:\n  listen: 8008\ntiming:", "http.listen: must be address:port"},
		{"timing:", "http:\n  listen: localhost:80\ntiming:", "must be address:port"},
		{"timing:", "http:\n  listen: 127.0.0.1:0\ntiming:", "must be address:port"},
		{"timing:", "http:\n  listen: 127.0.0.1:65536\ntiming:", "must be address:port"},
		{"timing:", "http:\n  listen: \"[::1:80\"\ntiming:", "must be address:port"},
		{"timing:", "client:\n  listen: udp://127.0.0.1:80\ntiming:", "must be tcp://"},
		{"timing:", "client:\n  publish: 127.0.0.1:80\ntiming:", "must be tcp://"},
		{"timing:", "log:\n  level: loud\ntiming:",
		 "log.level: \"loud\" is none of error warning notice info debug"},
		{"timing:", "fence:\n  kernel: maybe\ntiming:", "none of automatic required off"},
		{"timing:", "agent:\n  on_stop: 1\ntiming:", "none of leave handover"},
		{"timing:", "protection:\n  mode: none\ntiming:", "none of auto max_protection"},
		{"timing:", "monitor:\n  flush_interval: 2\ntiming:", "\"2\" is no duration"},
		{"postgresql:", "postgresql:\n  os_user: \"post gres\"",
		 "no name of a system user"},
		{"postgresql:", "postgresql:\n  dbname: \"a'b\"", "dbname: must be lower-case"},
		{"postgresql:", "postgresql:\n  monitor_user: Mon", "monitor_user: must be"},
		{"postgresql:", "postgresql:\n  replication_user: \"a;b\"",
		 "replication_user: must"},
		{"name: node-b", "name: Node-B",
		 "test.conf:13: members[1].name: must be lower-case"},
		{"10.0.0.2", "host-b", "members[1].address: must be the IP address"},
		{"10.0.0.2", "0.0.0.0", "must be the IP address"},
		{"10.0.0.2", "239.1.1.1", "must be the IP address"},
		{"10.0.0.2", "\"::\"", "must be the IP address"},
		{KEY_B, "short", "members[1].public_key: is no CURVE public key"},
		{KEY_B,
		 "#####"
		 "w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
		 "is no CURVE public key"},
		{KEY_B, "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{h~D", "is no CURVE public key"},
	};

	expect_refused(cases, COUNT_OF(cases));
}

Test(conf, contradictions_are_refused)
{
	static const struct refusal cases[] = {
		{"name: node-b", "name: node-a", "members[1].name: is given to two members"},
		{"id: 2", "id: 1", "members[1].id: is given to two members"},
		{KEY_B, KEY_A, "members[1].public_key: is given to two members"},
		{"10.0.0.2", "10.0.0.1", "members[1].address: and peer_port are those of another"},
		{"10.0.0.2", "\"::ffff:10.0.0.1\"", "and peer_port are those of another"},
		{"10.0.0.2", "10.0.0.1, peer_port: 7500", "and postgres_port are those of another"},
		{"id: 2", "id: 2, postgres_port: 7400", "is the port of the database too"},
		{"timing:", "protection:\n  quorum_sync: 2\ntiming:",
		 "protection.quorum_sync: 2 standbys are asked for, but a primary among 2"},
		{"timing:", "vip:\n  interface: eth0\ntiming:",
		 "vip.interface: is given, but vip.address is not"},
		{"timing:", "vip:\n  address: 10.0.0.9/24\ntiming:",
		 "vip.interface: is required with vip.address"},
		{"timing:", "vip:\n  address: 10.0.0.2/24\n  interface: eth0\ntiming:",
		 "vip.address: is the address of member node-b"},
		{"timing:", "http:\n  listen: 127.0.0.1:7401\ntiming:",
		 "client.listen: is the same as http.listen"},
		{"timing:", "http:\n  listen: 127.0.0.1:7402\ntiming:",
		 "client.publish: is the same as http.listen"},
		{"timing:", "client:\n  publish: tcp://127.0.0.1:7401\ntiming:",
		 "client.publish: is the same as client.listen"},
		{"  data_dir: /srv/pg\n", "", "postgresql.data_dir: is required on a data node"},
		{"  replication_password_file: /etc/mha4rdb/password\n", "",
		 "postgresql.replication_password_file: is required on a data node"},
		{"/srv/pg", "/run/mha4rdb/pg", "data_dir: is inside paths.run_dir"},
		{"/srv/pg", "/var/lib/mha4rdb", "paths.state_dir: is inside postgresql.data_dir"},
		{"/etc/mha4rdb/password", "/srv/pg/password", "is inside postgresql.data_dir"},
		{"timing:", "paths:\n  state_dir: /run/mha4rdb/state\ntiming:",
		 "state_dir: is inside paths.run_dir"},
		{"timing:", "keys:\n  secret_file: /run/mha4rdb/key\ntiming:",
		 "keys.secret_file: is inside paths.run_dir"},
		{"postgresql:", "postgresql:\n  os_user: root",
		 "neither root nor one of the agent's"},
		{"postgresql:", "postgresql:\n  os_user: mha-vip", "neither root nor one"},
		{"postgresql:", "postgresql:\n  monitor_user: mha_replication",
		 "monitor_user: is the same as postgresql.replication_user"},
	};

	expect_refused(cases, COUNT_OF(cases));
}

Test(conf, settings_of_the_agent_and_unsafe_ones_are_refused)
{
	static const struct refusal cases[] = {
		{"postgresql:", "postgresql:\n  parameters: {port: 5433}",
		 "port is set by the agent"},
		{"postgresql:", "postgresql:\n  parameters: {primary_conninfo: x}",
		 "set by the agent"},
		{"postgresql:", "postgresql:\n  parameters: {recovery_target: immediate}",
		 "recovery_target is set by the agent"},
		{"postgresql:", "postgresql:\n  parameters: {include_dir: x}", "set by the agent"},
		{"postgresql:", "postgresql:\n  parameters: {mha4rdb.promise: 1}",
		 "set by the agent"},
		{"postgresql:", "postgresql:\n  parameters: {synchronous_standby_names: ''}",
		 "set by the agent"},
		{"postgresql:", "postgresql:\n  parameters: {fsync: \"of\"}",
		 "fsync = \"of\" may lose acknowledged commits"},
		{"postgresql:", "postgresql:\n  parameters: {full_page_writes: 'no'}", "may lose"},
		{"postgresql:", "postgresql:\n  parameters: {synchronous_commit: local}",
		 "may lose"},
		{"postgresql:", "postgresql:\n  parameters: {synchronous_commit: remote_write}",
		 "may lose"},
		{"postgresql:", "postgresql:\n  parameters: {Work_Mem: 1MB}",
		 "is no setting's name"},
		{"postgresql:", "postgresql:\n  parameters: {\"a b\": 1}", "is no setting's name"},
		{"postgresql:", "postgresql:\n  parameters: {a.b.c: 1}", "is no setting's name"},
		{"postgresql:", "postgresql:\n  parameters: {work_mem: 1MB, work_mem: 2MB}",
		 "test.conf:9: postgresql.parameters: work_mem is given twice"},
		{"postgresql:", "postgresql:\n  parameters: [work_mem]", "a map (key: value)"},
		{"postgresql:", "postgresql:\n  parameters: {work_mem: [1]}",
		 "one value is expected"},
		{"postgresql:", "postgresql:\n  hba: host", "a list (- line) is expected"},
		{"postgresql:", "postgresql:\n  hba: [\"include /etc/passwd\"]",
		 "does not begin with"},
		{"postgresql:", "postgresql:\n  hba: [\"hosts all all all trust\"]",
		 "does not begin with"},
		{"postgresql:", "postgresql:\n  hba: [host]", "does not begin with"},
		{"postgresql:", "postgresql:\n  hba: [\"host all all all trust\\nlocal x\"]",
		 "holds a control character (byte 10)"},
	};

	expect_refused(cases, COUNT_OF(cases));
}

Test(conf, members_that_cannot_make_a_cluster_are_refused)
{
	static struct conf conf;
	struct err why;
	char *none = replaced(BASE, "members:\n", "members: []\n#");
	char *text, *other;

	for (char *c = none; (c = strstr(c, "\n  - {")) != NULL; c++)
		c[1] = '#';
	EXPECT(parse(&conf, none, &why) == ERR_INVALID);
	EXPECT(strstr(why.text, "members: is required") != NULL, "%s", why.text);
	free(none);

	text = replaced(BASE, "id: 1,", "id: 1, priority: 0,");
	other = replaced(text, "id: 2,", "id: 2, priority: 0,");
	EXPECT(parse(&conf, other, &why) == ERR_INVALID);
	EXPECT(strstr(why.text, "every founding data member has priority 0") != NULL, "%s",
	       why.text);
	free(text);
	free(other);

	text = replaced(BASE, "id: 1,", "id: 1, kind: witness,");
	other = replaced(text, "id: 2,", "id: 2, kind: witness,");
	EXPECT(parse(&conf, other, &why) == ERR_INVALID);
	EXPECT(strstr(why.text, "none of them is a founding data member") != NULL, "%s", why.text);
	free(text);
	free(other);
}

Test(conf, a_witness_needs_no_database)
{
	static struct conf conf;
	struct err why;
	char *text = replaced(BASE,
			      "  data_dir: /srv/pg\n  replication_password_file: "
			      "/etc/mha4rdb/password\n",
			      "  dbname: x\n");
	char *witness = replaced(text, "  name: node-a", "  name: node-c");

	EXPECT(parse(&conf, witness, &why) == 0, "%s", why.text);
	EXPECT(conf.self == 2);
	free(text);
	free(witness);
}

Test(conf, what_is_printed_parses_to_the_same)
{
	static struct conf conf, again;
	struct err why;
	char *text =
		replaced(BASE, "postgresql:\n",
			 "vip: {address: \"fd00::9/64\", interface: eth0.7}\n"
			 "monitor: {flush_interval: 0}\n"
			 "database: {start_timeout: 24h}\n"
			 "client: {listen: \"\", publish: \"tcp://[::1]:7402\"}\n"
			 "postgresql:\n"
			 "  parameters:\n"
			 "    application_name: \"quote ' and \\\" and \\\\ and \\u0085\\u2028 "
			 "\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x90\x98\"\n"
			 "    auto_explain.log_min_duration: 0\n"
			 "    log_line_prefix: \"%m [%p] # \"\n"
			 "    work_mem: \"\"\n"
			 "  hba:\n"
			 "    - \"local all all peer map=x\"\n"
			 "    - host all all 10.0.0.0/8 scram-sha-256\n");
	char *first, *second;

	EXPECT(parse(&conf, text, &why) == 0, "%s", why.text);
	EXPECT(conf.pg_parameters_count == 4 && conf.pg_hba_count == 2);
	EXPECT(conf.db_start_ms == 86400000);
	first = printed(&conf);
	EXPECT(parse(&again, first, &why) == 0, "%s in\n%s", why.text, first);
	EXPECT(conf_reload_check(&conf, &again, &why) == 0, "%s", why.text);
	second = printed(&again);
	EXPECT(strcmp(first, second) == 0, "not the same:\n%s\n%s", first, second);
	free(text);
	free(first);
	free(second);
}

Test(conf, reload_takes_what_may_change_and_names_what_may_not)
{
	static const struct {
		const char *from;
		const char *to;
		const char *key; /* NULL: allowed */
	} cases[] = {
		{"timing:", "log: {level: debug}\ntiming:", NULL},
		{"timing:", "agent: {on_stop: handover}\ntiming:", NULL},
		{"timing:", "monitor: {interval: 1s, timeout: 2s, flush_interval: 0}\ntiming:",
		 NULL},
		{"timing:", "database: {stop_timeout: 1s, start_timeout: 2s}\ntiming:", NULL},
		{"timing:", "vip: {announce_count: 3}\ntiming:", NULL},
		{"tick: 5ms", "tick: 0005ms", NULL},
		{"name: main", "name: other", "cluster.name has changed"},
		{"tick: 5ms", "tick: 6ms", "timing.tick has changed"},
		{"/srv/pg", "/srv/p", "postgresql.data_dir has changed"},
		{"timing:", "paths: {state_dir: /srv/x}\ntiming:", "paths.state_dir has changed"},
		{"timing:", "fence: {kernel: off}\ntiming:", "fence.kernel has changed"},
		{"postgresql:", "postgresql:\n  parameters: {work_mem: 1MB}",
		 "postgresql.parameters has changed"},
		{"postgresql:", "postgresql:\n  hba: [\"local all all peer\"]",
		 "postgresql.hba has changed"},
		{"  - {name: node-c", "  #- {name: node-c", NULL},
		{"id: 2", "id: 4", "node-b is new, and so none of the first members"},
		{"id: 2", "id: 2, priority: 7", "priority of member node-b has changed"},
		{"10.0.0.2", "10.0.0.12", "address of member node-b has changed"},
	};
	static struct conf running, fresh;
	struct err why;

	EXPECT(parse(&running, BASE, &why) == 0);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char *text = replaced(BASE, cases[i].from, cases[i].to);

		EXPECT(parse(&fresh, text, &why) == 0, "%s: %s", cases[i].to, why.text);
		if (cases[i].key == NULL) {
			EXPECT(conf_reload_check(&running, &fresh, &why) == 0, "%s: %s",
			       cases[i].to, why.text);
		} else {
			EXPECT(conf_reload_check(&running, &fresh, &why) == ERR_REFUSED, "%s",
			       cases[i].to);
			EXPECT(strstr(why.text, cases[i].key) != NULL, "%s", why.text);
			EXPECT(conf_reload_check(&fresh, &running, &why) == ERR_REFUSED);
		}
		free(text);
	}
}

Test(conf, a_node_that_joins_later_is_taken_by_a_reload)
{
	static struct conf running, fresh, moved;
	struct err why;
	char *more = replaced(BASE, "  - {name: node-c",
			      "  - {name: node-d, id: 4, founding: off, address: 10.0.0.4, "
			      "public_key: \"" KEY_D "\"}\n  - {name: node-c");
	char *port = replaced(more, "founding: off,", "founding: off, peer_port: 7500,");
	char *turned = replaced(BASE, "id: 3,", "id: 3, priority: 100,");

	EXPECT(parse(&running, BASE, &why) == 0, "%s", why.text);
	EXPECT(parse(&fresh, more, &why) == 0, "%s", why.text);
	EXPECT(conf_reload_check(&running, &fresh, &why) == 0, "%s", why.text);
	EXPECT(conf_reload_check(&fresh, &running, &why) == 0, "%s", why.text);
	EXPECT(parse(&moved, port, &why) == 0, "%s", why.text);
	EXPECT(conf_reload_check(&running, &moved, &why) == ERR_REFUSED);
	EXPECT(strstr(why.text, "node-d has another peer_port") != NULL, "%s", why.text);
	/* It changes nothing for a new log, and is part of what all nodes must agree on. */
	EXPECT(conf_data_members(&fresh) == conf_data_members(&running));
	EXPECT(conf_roster(&fresh) != conf_roster(&running) && conf_roster(&running) != 0);
	EXPECT(parse(&moved, turned, &why) == 0, "%s", why.text);
	EXPECT(conf_roster(&moved) == conf_roster(&running), "a default, written out");
	EXPECT(conf_member_identity(&running.members[0]) !=
	       conf_member_identity(&running.members[1]));
	free(more);
	free(port);
	free(turned);
}

Test(conf, k_is_half_of_the_data_nodes_unless_it_is_given)
{
	static struct conf conf;
	struct err why;
	char *text = replaced(BASE, "kind: witness, ", "");
	char *given = replaced(text, "timing:", "protection: {quorum_sync: 2}\ntiming:");

	EXPECT(parse(&conf, text, &why) == 0 && conf_sync_need(&conf) == 1);
	EXPECT(parse(&conf, given, &why) == 0 && conf_sync_need(&conf) == 2);
	for (unsigned count = 1; count <= CONF_MEMBERS_MAX; count++) {
		conf.quorum_sync = 0;
		conf.member_count = count;
		for (unsigned i = 0; i < count; i++)
			conf.members[i].kind = MEMBER_DATA;
		for (unsigned i = 0; i < count; i++)
			conf.members[i].founding = true;
		EXPECT(conf_sync_need(&conf) == count / 2, "%u", count);
	}
	free(text);
	free(given);
}

Test(conf, the_initial_settings_are_the_core_s_defaults_and_what_the_file_says)
{
	static struct conf conf;
	struct err why;
	char *text =
		replaced(BASE, "timing:",
			 "protection: {mode: max_performance, quorum_sync: majority, pinned: on, "
			 "max_lag: 3MB, max_lag_time: 5s, degrade_after: 700ms}\n"
			 "failover: {auto: off, auto_primary_switch: on, switch_back_after: 2min, "
			 "budget: 31}\ntiming:");
	struct settings plain = settings_default(2), got;

	EXPECT(parse(&conf, BASE, &why) == 0, "%s", why.text);
	got = conf_settings(&conf);
	EXPECT(got.mode == MODE_MAX_AVAILABILITY && got.mode == plain.mode);
	EXPECT(got.pinned == plain.pinned && got.quorum_sync == plain.quorum_sync);
	EXPECT(got.auto_failover && plain.auto_failover);
	EXPECT(got.auto_primary_switch == plain.auto_primary_switch);
	EXPECT(!got.paused && got.maintenance == 0);
	EXPECT(got.failover_budget == plain.failover_budget);
	EXPECT(got.max_lag_bytes == plain.max_lag_bytes && got.max_lag_ms == plain.max_lag_ms);
	EXPECT(got.degrade_ms == plain.degrade_ms && got.switch_back_ms == plain.switch_back_ms);
	EXPECT(settings_sane(&got, 2));

	EXPECT(parse(&conf, text, &why) == 0, "%s", why.text);
	got = conf_settings(&conf);
	EXPECT(got.mode == MODE_MAX_PERFORMANCE && got.pinned && got.quorum_sync == 0);
	EXPECT(!got.auto_failover && got.auto_primary_switch && got.failover_budget == 31);
	EXPECT(got.max_lag_bytes == 3 << 20 && got.max_lag_ms == 5000);
	EXPECT(got.degrade_ms == 700 && got.switch_back_ms == 120000);
	EXPECT(conf_sync_need(&conf) == 0 && settings_sane(&got, 2));
	free(text);
}

Test(conf, nofailover_counts_as_priority_0)
{
	static struct conf conf, again;
	struct err why;
	char *text = replaced(BASE, "id: 2", "id: 2, nofailover: on");
	char *out;

	EXPECT(parse(&conf, text, &why) == 0, "%s", why.text);
	EXPECT(conf.members[0].priority == 100 && conf.members[1].priority == 0);
	out = printed(&conf);
	EXPECT(parse(&again, out, &why) == 0, "%s", why.text);
	EXPECT(again.members[1].nofailover && again.members[1].priority == 0);
	free(out);
	free(text);
}

/* The whole file as text; the caller frees it. */
static char *slurp(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 65536);

	EXPECT(file != NULL && text != NULL, "%s", path);
	EXPECT(fread(text, 1, 65535, file) > 0, "%s", path);
	fclose(file);
	return text;
}

/* Every key, with its default, must stand in the sample: found by parsing it with the key renamed.
 */
static void expect_in_sample(const char *sample, const char *key)
{
	char section[64], line[96];
	const char *dot = strchr(key, '.');
	const char *at;

	snprintf(section, sizeof(section), "\n%.*s:\n", (int)(dot - key), key);
	snprintf(line, sizeof(line), "\n  %s:", dot + 1);
	at = strstr(sample, section);
	EXPECT(at != NULL, "the sample has no section of %s", key);
	at = strstr(at + strlen(section) - 1, line);
	EXPECT(at != NULL, "the sample has no %s", key);
}

Test(conf, the_sample_is_accepted_and_holds_every_key_and_description)
{
	static struct conf conf;
	struct err why;
	char *sample = slurp(SAMPLE_CONF);

	EXPECT(conf_read(&conf, SAMPLE_CONF, &why) == 0, "%s", why.text);
#define TEXT(key, field, size, preset, effect, description)  expect_in_sample(sample, key);
#define WORD(key, field, words, preset, effect, description) expect_in_sample(sample, key);
#define NUMBER(key, field, unit, min, max, preset, effect, description)                            \
	expect_in_sample(sample, key);                                                             \
	EXPECT(conf.field == (preset), "%s is not the default in the sample", key);
#define PAIRS(key, field, effect, description) expect_in_sample(sample, key);
#define LINES(key, field, effect, description) expect_in_sample(sample, key);
#define MEMBER_TEXT(key, ...)                  EXPECT(strstr(sample, "#   " key " ") != NULL, "no " key);
#define MEMBER_WORD(key, ...)                  EXPECT(strstr(sample, "#   " key " ") != NULL, "no " key);
#define MEMBER_NUMBER(key, ...)                EXPECT(strstr(sample, "#   " key " ") != NULL, "no " key);
#include "conf/options.def"
	free(sample);
}

static void expect_in_manual(const char *manual, const char *key)
{
	char item[96];

	snprintf(item, sizeof(item), "\n.It Cm %s", key);
	EXPECT(strstr(manual, item) != NULL, "the manual has no %s", key);
}

Test(conf, the_manual_describes_every_key)
{
	char *manual = slurp(MANUAL_PAGE);

#define TEXT(key, ...)          expect_in_manual(manual, key);
#define WORD(key, ...)          expect_in_manual(manual, key);
#define NUMBER(key, ...)        expect_in_manual(manual, key);
#define PAIRS(key, ...)         expect_in_manual(manual, key);
#define LINES(key, ...)         expect_in_manual(manual, key);
#define MEMBER_TEXT(key, ...)   expect_in_manual(manual, key);
#define MEMBER_WORD(key, ...)   expect_in_manual(manual, key);
#define MEMBER_NUMBER(key, ...) expect_in_manual(manual, key);
#include "conf/options.def"
	free(manual);
}

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* One to four random edits: bytes changed, pieces cut, doubled or moved. */
static size_t mutate(char *text, size_t size, size_t room, uint32_t *state)
{
	static const char INTERESTING[] = "\0\n\t:-#&*!|>'\"%@`{}[],?~ \x80\xff";
	unsigned edits = 1 + next_random(state) % 4;

	while (edits-- > 0 && size > 64) {
		const size_t at = next_random(state) % (size - 32);
		const size_t length = 1 + next_random(state) % 32;

		switch (next_random(state) % 4) {
		case 0:
			text[at] = INTERESTING[next_random(state) % (sizeof(INTERESTING) - 1)];
			break;
		case 1:
			memmove(text + at, text + at + length, size - at - length);
			size -= length;
			break;
		case 2:
			if (size + length > room)
				break;
			memmove(text + at + length, text + at, size - at);
			size += length;
			break;
		default:
			memmove(text + at, text + next_random(state) % (size - 32), length);
			break;
		}
	}
	return size;
}

/* Whatever somebody does to the file: a clear error, or a configuration that prints itself. */
Test(conf, a_damaged_file_is_an_error_and_never_a_crash)
{
	static struct conf conf, again;
	char *sample = slurp(SAMPLE_CONF);
	const size_t size = strlen(sample);
	const size_t room = size + 256;
	char *damaged = malloc(room);
	unsigned accepted = 0, rejected = 0;

	EXPECT(damaged != NULL);
	for (uint32_t seed = 1; seed <= 3000; seed++) {
		uint32_t state = seed * 2654435761U;
		struct err why = {.text = ""};
		size_t length;
		char *text, *second;

		memcpy(damaged, sample, size);
		length = mutate(damaged, size, room, &state);
		if (parse_bytes(&conf, damaged, length, &why) < 0) {
			EXPECT(strncmp(why.text, "test.conf", 9) == 0, "seed %u: %s", seed,
			       why.text);
			rejected++;
			continue;
		}
		accepted++;
		text = printed(&conf);
		EXPECT(parse(&again, text, &why) == 0, "seed %u: %s", seed, why.text);
		second = printed(&again);
		EXPECT(strcmp(text, second) == 0, "seed %u", seed);
		free(second);
		free(text);
	}
	EXPECT(accepted > 100 && rejected > 100, "accepted %u, rejected %u", accepted, rejected);
	free(damaged);
	free(sample);
}

struct taken {
	unsigned count;
	unsigned defaults;
	char name[64], mode[64];
	unsigned name_line;
};

static void take_value(void *arg, const struct conf_value *value)
{
	struct taken *taken = arg;

	taken->count++;
	taken->defaults += value->line == 0;
	if (strcmp(value->key, "cluster.name") == 0) {
		snprintf(taken->name, sizeof(taken->name), "%s", value->value);
		taken->name_line = value->line;
	}
	if (strcmp(value->key, "protection.mode") == 0)
		snprintf(taken->mode, sizeof(taken->mode), "%s %s", value->value, value->effect);
}

Test(conf, every_value_is_told_with_its_line)
{
	struct taken taken = {0};
	struct err why = {0};

	cr_assert_eq(conf_values(SAMPLE_CONF, take_value, &taken, &why), 0, "%s", why.text);
	cr_expect_str_eq(taken.name, "\"main\"");
	cr_expect_gt(taken.name_line, 1);
	cr_expect_str_eq(taken.mode, "auto new_log");
	cr_expect_gt(taken.count, 60);
	cr_expect_lt(taken.defaults, taken.count);
	cr_expect_eq(conf_values("/nonexistent/file", take_value, &taken, &why), ERR_NOT_FOUND);
}

Test(conf, secrets_are_covered)
{
	static const struct {
		const char *key, *text, *shown;
	} cases[] = {
		{"postgresql.parameters.ssl_passphrase_command", "\"echo abc\"", "\"********\""},
		{"postgresql.parameters.work_mem", "\"4MB\"", "\"4MB\""},
		{"postgresql.replication_password_file", "\"/etc/x\"", "\"/etc/x\""},
		{"postgresql.restore_command", "\"PGPASSWORD=abc fetch %f\"",
		 "\"PGPASSWORD=*** fetch %f\""},
		{"postgresql.restore_command", "\"curl https://u:pw@h/%f?token=xyz\"",
		 "\"curl https://u:**@h/%f?token=***\""},
		{"postgresql.restore_command", "\"cp https://h:8080/a %p\"",
		 "\"cp https://h:8080/a %p\""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text), "%s", cases[i].text);
		conf_redact(cases[i].key, text);
		cr_expect_str_eq(text, cases[i].shown, "%s: %s", cases[i].key, text);
	}
}
