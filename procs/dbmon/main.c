#include "dbmon.h"

int main(void)
{
	return worker_main(WORKER_dbmon, &DBMON);
}
