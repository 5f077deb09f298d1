// tries: the same at full speed: forks and ends, forks and ends
// limits: time=2s pids=48
// expect: reason=timeout|pids gvisor=timeout|pids|memory
#include <signal.h>
#include <unistd.h>

int main(void) {
	signal(SIGCHLD, SIG_IGN);
	for (int count = 0; count < 8; count++) {
		if (fork() == 0) {
			setsid();
			for (;;)
				if (fork() > 0)
					_exit(0);
		}
	}
	for (;;)
		pause();
}
