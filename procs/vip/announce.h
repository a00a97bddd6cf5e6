/*
 * Telling the neighbours that this host now owns an address: gratuitous ARP (a request and a reply,
 * because some listen only to one of them) or an unsolicited neighbour advertisement.
 */
#ifndef MHA_VIP_ANNOUNCE_H
#define MHA_VIP_ANNOUNCE_H

#include "address.h"

#define FRAME_MAX 128

struct frame {
	uint16_t size;
	uint8_t bytes[FRAME_MAX]; /* with the Ethernet header */
};

enum arp_operation { ARP_IS_REQUEST = 1, ARP_IS_REPLY = 2 };

/* Gratuitous ARP for an IPv4 address. */
void announce_arp(struct frame *frame, const uint8_t mac[static 6], const uint8_t ip[static 4],
		  enum arp_operation operation);
/* Unsolicited neighbour advertisement, with the override flag, to all nodes of the link. */
void announce_na(struct frame *frame, const uint8_t mac[static 6], const uint8_t ip[static 16]);

/*
 * Send one announcement of address->ip on its interface. Does not wait.
 *
 *   packet_fd   an AF_PACKET socket of type SOCK_DGRAM.
 *
 * Returns 0 (also on an interface without Ethernet addresses, where there is nothing to tell), or
 * ERR_NOT_FOUND (no interface), ERR_IO. Repeating it is harmless.
 */
MUST_CHECK int announce_send(int packet_fd, const struct address *address, struct err *why);

#endif
