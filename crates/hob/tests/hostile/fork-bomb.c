// tries: forks by every call that there is: fork, vfork and clone, from several threads
// limits: time=10s cpu=1s pids=48
// expect: reason=pids|timeout gvisor=pids|timeout|memory
// fills: pids
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *more(void *stands_still) {
	for (;;) {
		if (fork() == 0)
			setsid();
		syscall(SYS_clone, SIGCHLD | CLONE_PARENT, 0, 0, 0, 0);
		// Its parent stands still until it ends, in a way that few signals end.
		if (stands_still && vfork() == 0)
			for (;;)
				pause();
	}
	return NULL;
}

int main(void) {
	for (int number = 1; number < 32; number++)
		signal(number, SIG_IGN);
	pthread_t thread;
	for (int count = 0; count < 4; count++)
		pthread_create(&thread, NULL, more, count % 2 ? &thread : NULL);
	more(NULL);
}
