# tries: makes files that are larger than any disk
# limits: time=10s
# expect: reason=ok|memory
import os

for folder in ("/box", "/tmp", "/dev/shm"):
    with open(folder + "/sparse", "wb") as file:
        for size in (1 << 62, 1 << 50, 1 << 40):
            for call in (lambda: file.truncate(size), lambda: os.posix_fallocate(file.fileno(), 0, size)):
                try:
                    call()
                except OSError as error:
                    print(error, flush=True)
    os.unlink(folder + "/sparse")
print("done", flush=True)
