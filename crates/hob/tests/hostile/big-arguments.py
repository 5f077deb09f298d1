# tries: starts programs with as many arguments and variables as there can be
# limits: time=15s memory=96Mi
# expect: reason=ok|memory|timeout
# last-words: done
import os

word = "x" * 131000
for count in (1, 8, 15, 16, 1000):
    for argv, env in ((["true"] + [word] * count, {}), (["true"], {f"N{number}": word for number in range(count)})):
        pid = os.fork()
        if pid == 0:
            try:
                os.execve("/bin/true", argv, env)
            except OSError as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
print("done", flush=True)
