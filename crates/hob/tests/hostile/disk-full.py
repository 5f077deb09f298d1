# tries: writes more files than it may, in every folder that it can write to
# limits: time=20s memory=128Mi
# expect: reason=ok gvisor=ok|memory
# last-words: done
import errno
import os

limit = int(os.environ["HOSTILE_DISK"])
for folder in ("/box", "/tmp", "/dev/shm"):
    written = 0
    try:
        with open(folder + "/hog", "wb", 0) as file:
            while written <= 2 * limit:
                written += file.write(b"x" * 65536)
        print("BROKEN: wrote", written, "to", folder, flush=True)
    except OSError as error:
        print(folder, written, errno.errorcode[error.errno], flush=True)
    if written > limit + (1 << 20):
        print("BROKEN: wrote", written, "to", folder, flush=True)
    try:
        os.unlink(folder + "/hog")
    except OSError:
        pass
print("done", flush=True)
