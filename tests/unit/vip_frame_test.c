/* What goes on the wire, into the kernel and comes back from it: frames, notes, prefixes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "address.h"
#include "announce.h"
#include "base/macros.h"
#include "note.h"
#include "peers.h"

static const uint8_t MAC[6] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};

Test(vip_announce, gratuitous_arp_is_laid_out_as_rfc_5227_says)
{
	static const uint8_t expected[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06,
		0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55,
		192,  0,    2,    9,    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 192,  0,    2,    9,
	};
	static const uint8_t ip[4] = {192, 0, 2, 9};
	struct frame frame;

	announce_arp(&frame, MAC, ip, ARP_IS_REQUEST);
	cr_assert_eq(frame.size, sizeof(expected));
	cr_expect_arr_eq(frame.bytes, expected, sizeof(expected));
	announce_arp(&frame, MAC, ip, ARP_IS_REPLY);
	cr_expect_eq(frame.bytes[21], 2);
	cr_expect_arr_eq(frame.bytes + 32, frame.bytes, 6);
}

/* The one's complement sum over pseudo header and message, checksum included, is all ones. */
static uint16_t icmp6_sum(const struct frame *frame)
{
	uint32_t sum = 58 + 32;

	for (size_t i = 14 + 8; i < frame->size; i += 2)
		sum += (uint32_t)frame->bytes[i] << 8 | frame->bytes[i + 1];
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

Test(vip_announce, a_neighbour_advertisement_overrides_and_sums_up)
{
	for (unsigned i = 0; i < 256; i++) {
		const uint8_t ip[16] = {
			0x20, 0x01, 0x0d, 0xb8, [14] = (uint8_t)(i * 7), [15] = (uint8_t)i};
		struct frame frame;

		announce_na(&frame, MAC, ip);
		cr_assert_eq(frame.size, 14 + 40 + 32);
		cr_expect_eq(frame.bytes[14 + 7], 255, "hop limit");
		cr_expect_eq(frame.bytes[54], 136);
		cr_expect_eq(frame.bytes[58], 0x20, "override only");
		cr_expect_arr_eq(frame.bytes + 62, ip, 16);
		cr_expect_arr_eq(frame.bytes + 80, MAC, 6);
		cr_expect_eq(icmp6_sum(&frame), 0xffff, "checksum for %u", i);
	}
}

Test(vip_note, what_is_printed_is_read_back)
{
	static const struct note notes[] = {
		{NOTE_LEASE, 1, 1},
		{NOTE_STANDBY, 0, 0},
		{NOTE_SWITCHOVER, UINT64_MAX, UINT64_MAX},
		{NOTE_STANDBY, 18, UINT64_C(0x00c0ffee00c0ffee)},
	};

	for (size_t i = 0; i < COUNT_OF(notes); i++) {
		char text[NOTE_SIZE];
		struct note note = {0};

		note_print(&notes[i], text);
		cr_expect(note_parse(&note, text, strlen(text)), "%s", text);
		cr_expect(note_parse(&note, text, strlen(text) + 1), "%s with its end", text);
		cr_expect_eq(note.kind, notes[i].kind);
		cr_expect_eq(note.epoch, notes[i].epoch);
		cr_expect_eq(note.cluster, notes[i].cluster);
	}
}

Test(vip_note, anything_else_is_not_a_note)
{
	static const char *const texts[] = {
		"",
		"lease",
		"lease epoch 7 cluster",
		"lease epoch 7 cluster 00c0ffee00c0ffe",
		"lease epoch 7 cluster 00c0ffee00c0ffee0",
		"lease epoch 7 cluster 00C0FFEE00C0FFEE",
		"lease epoch x cluster 00c0ffee00c0ffee",
		"lease epoch 99999999999999999999 cluster 00c0ffee00c0ffee",
		"lease epoch 7 cluster 00c0ffee00c0ffee more",
		"Lease epoch 7 cluster 00c0ffee00c0ffee",
		"lease round 7 cluster 00c0ffee00c0ffee",
		"lease epoch 7 house 00c0ffee00c0ffee",
	};
	static const char GOOD[] = "lease epoch 7 cluster 00c0ffee00c0ffee";
	char endless[NOTE_SIZE + 1];
	struct note note;

	(void)snprintf(endless, sizeof(endless), "%-*s", NOTE_SIZE, GOOD);
	cr_expect(note_parse(&note, endless, strlen(GOOD)));
	cr_expect_not(note_parse(&note, endless, NOTE_SIZE));
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		cr_expect_not(note_parse(&note, texts[i], strlen(texts[i])), "'%s'", texts[i]);
	cr_expect_not(note_parse(&note, "lease\0epoch 7 cluster 00c0ffee00c0ffee", 39));
}

Test(vip_prefix, an_address_needs_a_prefix_that_fits)
{
	static const struct {
		const char *text;
		int family; /* AF_UNSPEC: refused */
		uint8_t length;
	} cases[] = {
		{"192.0.2.9/24", AF_INET, 24},
		{"192.0.2.9/32", AF_INET, 32},
		{"2001:db8::9/64", AF_INET6, 64},
		{"2001:db8::9/128", AF_INET6, 128},
		{"192.0.2.9", AF_UNSPEC, 0},
		{"192.0.2.9/", AF_UNSPEC, 0},
		{"192.0.2.9/0", AF_UNSPEC, 0},
		{"192.0.2.9/33", AF_UNSPEC, 0},
		{"192.0.2.9/24x", AF_UNSPEC, 0},
		{"2001:db8::9/129", AF_UNSPEC, 0},
		{"192.0.2/24", AF_UNSPEC, 0},
		{"host/24", AF_UNSPEC, 0},
		{"/24", AF_UNSPEC, 0},
		{"2001:0db8:0000:0000:0000:0000:0000:0009:0009:0009/64", AF_UNSPEC, 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct ip_prefix ip;
		struct err why = {0};
		const int rc = ip_prefix_parse(&ip, cases[i].text, &why);

		cr_expect_eq(rc == 0, cases[i].family != AF_UNSPEC, "%s", cases[i].text);
		if (rc < 0) {
			cr_expect_neq(why.text[0], '\0', "%s", cases[i].text);
			continue;
		}
		cr_expect_eq(ip.family, cases[i].family, "%s", cases[i].text);
		cr_expect_eq(ip.length, cases[i].length, "%s", cases[i].text);
		cr_expect_eq(ip.size, cases[i].family == AF_INET ? 4 : 16, "%s", cases[i].text);
	}
}

static void add_member(struct conf *conf, const char *address)
{
	struct conf_member *member = &conf->members[conf->member_count++];

	(void)snprintf(member->name, sizeof(member->name), "n%u", conf->member_count);
	(void)snprintf(member->address, sizeof(member->address), "%s", address);
}

Test(vip_peers, the_others_addresses_each_once_and_never_the_own)
{
	static struct conf conf;
	struct peers peers;
	struct peer_address address;
	struct err why = {0};

	for (unsigned i = 0; i < 5; i++)
		add_member(&conf, (const char *[]){"10.0.0.1", "10.0.0.2", "fd00::3", "10.0.0.2",
						   "10.0.0.1"}[i]);
	cr_assert_eq(peers_from_conf(&peers, &conf, &why), 0, "%s", why.text);
	cr_expect_eq(peers.count, 2);
	cr_assert(peer_address_parse(&address, "10.0.0.2"));
	cr_expect(peers_have(&peers, &address));
	/* As a socket that listens for both families shows it. */
	cr_assert(peer_address_parse(&address, "::ffff:10.0.0.2"));
	cr_expect(peers_have(&peers, &address));
	cr_assert(peer_address_parse(&address, "fd00::3"));
	cr_expect(peers_have(&peers, &address));
	cr_assert(peer_address_parse(&address, "10.0.0.1"));
	cr_expect_not(peers_have(&peers, &address), "its own");
	cr_assert(peer_address_parse(&address, "fd00::4"));
	cr_expect_not(peers_have(&peers, &address));
	add_member(&conf, "db3.example");
	cr_expect_eq(peers_from_conf(&peers, &conf, &why), ERR_INVALID);
	cr_expect(strstr(why.text, "n6") != NULL && strstr(why.text, "db3.example") != NULL, "%s",
		  why.text);
}
