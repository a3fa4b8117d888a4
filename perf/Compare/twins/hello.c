/* The peer of Compare's start-up row: what DPDK's helloworld does, with the same memory. No part of the product. */
#include <stdio.h>
#include <rte_eal.h>
#include <rte_launch.h>
#include <rte_lcore.h>

static int hello(void *arg)
{
	(void)arg;
	printf("hello from lcore %u\n", rte_lcore_id());
	return 0;
}

int main(int argc, char **argv)
{
	if (rte_eal_init(argc, argv) < 0)
		return 1;
	rte_eal_mp_remote_launch(hello, NULL, CALL_MAIN);
	rte_eal_mp_wait_lcore();
	return rte_eal_cleanup();
}
