/* mha-vip: what the kernel does for the lease (docs/fencing.md). */
#include "worker.h"

int main(void)
{
	return worker_main(WORKER_vip, &VIP_OPS);
}
