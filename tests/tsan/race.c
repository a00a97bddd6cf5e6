/* A race, so that a test can show that the sanitizer that it relies on finds one. */
#include <pthread.h>
#include <stdio.h>

struct shared {
	int touched;
};

static void *touch(void *arg)
{
	struct shared *shared = arg;

	for (int i = 0; i < 1000; i++)
		shared->touched++;
	return NULL;
}

int main(void)
{
	struct shared shared = {0};
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, touch, &shared) != 0)
			return 2;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("%d\n", shared.touched);
	return 0;
}
