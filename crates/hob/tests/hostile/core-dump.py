# tries: has the kernel write its memory to a file, or start a program of the host with it
# limits: time=10s
# expect: reason=exit code=-1 signal=11
# never-output: went on
import os
import resource
import signal

soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
try:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("BROKEN: raises its limit of core dumps", flush=True)
except (OSError, ValueError):
    pass
for folder in ("/box", "/tmp"):
    os.chdir(folder)
    pid = os.fork()
    if pid == 0:
        os.abort()
    _, status = os.waitpid(pid, 0)
    if os.WCOREDUMP(status) or any(name.startswith("core") for name in os.listdir(folder)):
        print("BROKEN: a core dump", flush=True)
os.kill(os.getpid(), signal.SIGSEGV)
print("went on", flush=True)
