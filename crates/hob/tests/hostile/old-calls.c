// tries: calls the kernel as 32-bit programs do, whose numbers are others, to pass by the list of calls
// limits: time=5s
// expect: reason=ok|exit
// gvisor-allows: 32-bit call 26
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
static long call32(long number, long first) {
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(0), "d"(0), "S"(0), "D"(0) : "memory");
	return result;
}

// mount, unshare of a user namespace, keyctl, add_key, bpf, io_uring_setup, ptrace of itself, getpid
static const struct { int number; long first; } CALLS[] = {
	{21, 0}, {310, 0x10000000}, {288, 0}, {286, 0}, {357, 0}, {425, 4}, {26, 0}, {20, 0},
};

int main(void) {
	for (unsigned at = 0; at < sizeof CALLS / sizeof *CALLS; at++) {
		// Where the kernel ends whoever calls so, that is a child.
		pid_t child = fork();
		if (child == 0) {
			if (call32(CALLS[at].number, CALLS[at].first) >= 0)
				printf("BROKEN: 32-bit call %d\n", CALLS[at].number);
			long with_x32 = syscall(0x40000000 + 272, 0x10000000);
			if (with_x32 >= 0)
				printf("BROKEN: a call of x32\n");
			fflush(stdout);
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
	puts("done");
}
#else
int main(void) { puts("done"); }
#endif
