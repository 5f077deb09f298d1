# tries: opens files until there are no more
# limits: time=10s
# expect: reason=ok gvisor=ok|memory
# last-words: done
import os
import resource

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if hard > 65536:
    print("BROKEN: may open", hard, flush=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(error, len(held), flush=True)
print("done", flush=True)
