/* The peer of Compare's bond rows: bursts of 32 to and from net_bonding0, whose members are two null ports, on one
 * core. To it: a burst is got from the pool, each packet of another of 64 flows, made 64 bytes long and sent. From it: a
 * burst is received and freed. Prints: cycles per packet of each. No part of the product. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#define BURST 32
#define FLOWS 64
#define COUNT 8191

static double seconds = 1.0;

static void write_flows(struct rte_mempool *pool)
{
	static struct rte_mbuf *all[COUNT];
	unsigned count = 0;

	while (count < COUNT && (all[count] = rte_pktmbuf_alloc(pool)) != NULL)
		count++;
	for (unsigned i = 0; i < count; i++) {
		uint8_t *frame = rte_pktmbuf_mtod(all[i], uint8_t *);
		memset(frame, 0, 64);
		frame[0] = 2, frame[6] = 2, frame[11] = 1;
		frame[12] = 0x08;
		frame[14] = 0x45, frame[17] = 50, frame[22] = 64, frame[23] = 17;
		frame[26] = 198, frame[27] = 18, frame[29] = 1;
		frame[30] = 198, frame[31] = 18, frame[32] = 1, frame[33] = i % FLOWS;
	}
	rte_pktmbuf_free_bulk(all, count);
}

static void transmit(uint16_t port, struct rte_mempool *pool, uint64_t *packets)
{
	struct rte_mbuf *burst[BURST];

	for (int round = 0; round < 1000; round++) {
		if (rte_pktmbuf_alloc_bulk(pool, burst, BURST) != 0)
			rte_panic("pool empty\n");
		for (int i = 0; i < BURST; i++)
			rte_pktmbuf_append(burst[i], 64);
		uint16_t sent = rte_eth_tx_burst(port, 0, burst, BURST);
		rte_pktmbuf_free_bulk(burst + sent, BURST - sent);
		*packets += sent;
	}
}

static void receive(uint16_t port, struct rte_mempool *pool, uint64_t *packets)
{
	struct rte_mbuf *burst[BURST];

	(void)pool;
	for (int round = 0; round < 1000; round++) {
		uint16_t received = rte_eth_rx_burst(port, 0, burst, BURST);
		rte_pktmbuf_free_bulk(burst, received);
		*packets += received;
	}
}

static double run(void (*rounds)(uint16_t, struct rte_mempool *, uint64_t *), uint16_t port, struct rte_mempool *pool,
	double time)
{
	uint64_t end = time * rte_get_tsc_hz(), packets = 0, start = rte_rdtsc(), now;

	do {
		rounds(port, pool, &packets);
		now = rte_rdtsc();
	} while (now - start < end);
	return packets == 0 ? 0 : (double)(now - start) / packets;
}

int main(int argc, char **argv)
{
	struct rte_eth_conf config = { 0 };
	uint16_t port;
	int used = rte_eal_init(argc, argv);

	if (used < 0)
		return 1;
	if (argc - used > 1)
		seconds = atof(argv[used + 1]);
	struct rte_mempool *pool = rte_pktmbuf_pool_create("twin", COUNT, 250, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool == NULL || rte_eth_dev_get_port_by_name("net_bonding0", &port) != 0
		|| rte_eth_dev_configure(port, 1, 1, &config) != 0
		|| rte_eth_rx_queue_setup(port, 0, 512, SOCKET_ID_ANY, NULL, pool) != 0
		|| rte_eth_tx_queue_setup(port, 0, 512, SOCKET_ID_ANY, NULL) != 0 || rte_eth_dev_start(port) != 0)
		rte_panic("no bond\n");
	write_flows(pool);
	for (int tries = 0; run(transmit, port, pool, 0.2) == 0; tries++)
		if (tries == 50)
			rte_panic("no member comes up\n");
	printf("transmit %.3f\n", run(transmit, port, pool, seconds));
	run(receive, port, pool, 0.2);
	printf("receive %.3f\n", run(receive, port, pool, seconds));
	for (uint16_t member = 0; member < 2; member++) {
		struct rte_eth_stats stats;
		rte_eth_stats_get(member, &stats);
		printf("member %u sent %lu\n", member, (unsigned long)stats.opackets);
	}
	rte_eal_cleanup();
	return 0;
}
