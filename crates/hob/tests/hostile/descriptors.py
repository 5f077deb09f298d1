# tries: finds descriptors that somebody forgot to close
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: points at what its init has open
# expect-output: done
import os
import stat

for number in range(3, 4096):
    try:
        about = os.fstat(number)
    except OSError:
        continue
    # The script, which the interpreter reads.
    if os.readlink(f"/proc/self/fd/{number}").startswith("/box/"):
        continue
    print("BROKEN: has", number, os.readlink(f"/proc/self/fd/{number}"), flush=True)
if stat.S_ISDIR(os.fstat(0).st_mode):
    print("BROKEN: stdin is a folder", flush=True)
for number in (0, 1, 2):
    if stat.S_ISSOCK(os.fstat(number).st_mode):
        print("BROKEN: a socket to the outside", number, flush=True)
try:
    numbers = os.listdir("/proc/1/fd")
except OSError:
    numbers = []
for number in numbers:
    for what, flags in (("reads", os.O_RDONLY), ("writes", os.O_WRONLY), ("points at", os.O_PATH)):
        try:
            os.open(f"/proc/1/fd/{number}", flags | os.O_NONBLOCK)
            print("BROKEN:", what, "what its init has open", os.readlink(f"/proc/1/fd/{number}"), flush=True)
        except OSError:
            pass
print("done", flush=True)
