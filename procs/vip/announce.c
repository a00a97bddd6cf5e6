#include "announce.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"

#define ETHERNET_HEADER 14
#define TYPE_ARP        0x0806
#define TYPE_IPV6       0x86dd

static const uint8_t BROADCAST[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
/* 33:33:00:00:00:01 and ff02::1, all nodes of the link. */
static const uint8_t ALL_NODES_MAC[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t ALL_NODES_IP[16] = {0xff, 0x02, [15] = 1};

static void put(struct frame *frame, const void *bytes, size_t size)
{
	CHECK(frame->size + size <= sizeof(frame->bytes));
	memcpy(frame->bytes + frame->size, bytes, size);
	frame->size = (uint16_t)(frame->size + size);
}

static void put_u8(struct frame *frame, uint8_t value)
{
	put(frame, &value, sizeof(value));
}

static void put_u16(struct frame *frame, uint16_t value)
{
	const uint16_t big_endian = htons(value);

	put(frame, &big_endian, sizeof(big_endian));
}

static void begin(struct frame *frame, const uint8_t to[static 6], const uint8_t from[static 6],
		  uint16_t type)
{
	*frame = (struct frame){.size = 0};
	put(frame, to, 6);
	put(frame, from, 6);
	put_u16(frame, type);
}

void announce_arp(struct frame *frame, const uint8_t mac[static 6], const uint8_t ip[static 4],
		  enum arp_operation operation)
{
	static const uint8_t UNKNOWN[6] = {0};

	begin(frame, BROADCAST, mac, TYPE_ARP);
	put_u16(frame, 1); /* Ethernet */
	put_u16(frame, 0x0800);
	put_u8(frame, 6);
	put_u8(frame, 4);
	put_u16(frame, (uint16_t)operation);
	put(frame, mac, 6);
	put(frame, ip, 4);
	put(frame, operation == ARP_IS_REQUEST ? UNKNOWN : BROADCAST, 6);
	put(frame, ip, 4);
}

static uint32_t sum16(const uint8_t *bytes, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	return sum;
}

/* The ICMPv6 checksum covers addresses, length and protocol too. `size` is even. */
static uint16_t icmp6_checksum(const uint8_t *ip_header, const uint8_t *message, size_t size)
{
	uint32_t sum =
		sum16(ip_header + 8, 32) + (uint32_t)size + IPPROTO_ICMPV6 + sum16(message, size);

	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void announce_na(struct frame *frame, const uint8_t mac[static 6], const uint8_t ip[static 16])
{
	const uint16_t message_size = 32;
	const size_t message_at = ETHERNET_HEADER + 40;

	begin(frame, ALL_NODES_MAC, mac, TYPE_IPV6);
	put_u16(frame, 0x6000); /* version 6 */
	put_u16(frame, 0);
	put_u16(frame, message_size);
	put_u8(frame, IPPROTO_ICMPV6);
	put_u8(frame, 255); /* neighbours refuse what a router has forwarded */
	put(frame, ip, 16);
	put(frame, ALL_NODES_IP, 16);

	put_u8(frame, 136); /* neighbour advertisement */
	put_u8(frame, 0);
	put_u16(frame, 0);      /* the checksum's place */
	put_u16(frame, 0x2000); /* override, not solicited, no router */
	put_u16(frame, 0);
	put(frame, ip, 16);
	put_u8(frame, 2); /* option: link-layer address of the target, one unit of 8 bytes */
	put_u8(frame, 1);
	put(frame, mac, 6);

	const uint16_t checksum = htons(icmp6_checksum(frame->bytes + ETHERNET_HEADER,
						       frame->bytes + message_at, message_size));

	memcpy(frame->bytes + message_at + 2, &checksum, sizeof(checksum));
}

static int send_frame(int packet_fd, const struct frame *frame, unsigned index, struct err *why)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET, .sll_ifindex = (int)index, .sll_halen = 6};

	memcpy(&to.sll_protocol, frame->bytes + 12, sizeof(to.sll_protocol));
	memcpy(to.sll_addr, frame->bytes, 6);

	/* The kernel makes the Ethernet header of a datagram socket. */
	if (sendto(packet_fd, frame->bytes + ETHERNET_HEADER, frame->size - ETHERNET_HEADER,
		   MSG_DONTWAIT, (const struct sockaddr *)&to, sizeof(to)) < 0)
		return err_set_errno(why, ERR_IO, errno, "announce the virtual IP");
	return 0;
}

int announce_send(int packet_fd, const struct address *address, struct err *why)
{
	struct frame frame;
	int rc;

	if (address->index == 0)
		return err_set(why, ERR_NOT_FOUND, "announce: there is no interface %s",
			       address->interface);
	if (!address->ethernet)
		return 0;
	if (address->ip.family == AF_INET6) {
		announce_na(&frame, address->mac, address->ip.bytes);
		return send_frame(packet_fd, &frame, address->index, why);
	}
	announce_arp(&frame, address->mac, address->ip.bytes, ARP_IS_REQUEST);
	if ((rc = send_frame(packet_fd, &frame, address->index, why)) < 0)
		return rc;
	announce_arp(&frame, address->mac, address->ip.bytes, ARP_IS_REPLY);
	return send_frame(packet_fd, &frame, address->index, why);
}
