# tries: leaves its root by the oldest way: chroot into a folder with another one open, then up and up
# limits: time=10s
# expect: reason=ok code=0
# expect-output: done
import os
from attack import must_fail, read

outside = os.environ["HOSTILE_OUTSIDE"]
root = os.open("/", os.O_RDONLY)
os.makedirs("/tmp/deeper", exist_ok=True)
must_fail("chroot", os.chroot, "/tmp/deeper")
os.fchdir(root)
for _ in range(64):
    os.chdir("..")
must_fail("chroot", os.chroot, ".")
must_fail("files of the host", read, outside + "/file")
must_fail("files of the host", read, "/.." * 32 + outside + "/file")
print("done", flush=True)
