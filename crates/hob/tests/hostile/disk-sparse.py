# tries: makes files that are larger than any disk
# limits: time=10s
# expect: reason=ok gvisor=ok|memory
# last-words: done
import os
from attack import must_fail

for folder in ("/box", "/tmp", "/dev/shm"):
    with open(folder + "/sparse", "wb") as file:
        for size in (1 << 62, 1 << 50, 1 << 40):
            try:
                file.truncate(size)
            except OSError as error:
                print(error, flush=True)
            must_fail(f"room for {size} bytes", os.posix_fallocate, file.fileno(), 0, size)
    os.unlink(folder + "/sparse")
print("done", flush=True)
