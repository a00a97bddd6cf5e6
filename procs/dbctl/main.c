#include "dbctl.h"

int main(void)
{
	return worker_main(WORKER_dbctl, &DBCTL);
}
