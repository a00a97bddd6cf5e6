#include "consensus.h"

int main(void)
{
	return worker_main(WORKER_consensus, &consensus_ops);
}
