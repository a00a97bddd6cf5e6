#include "gateway/gateway.h"

int main(void)
{
	return worker_main(WORKER_gateway, &gateway_ops);
}
