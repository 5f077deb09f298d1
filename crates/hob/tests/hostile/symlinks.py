# tries: leaves symlinks and hard links behind that lead out, where hob might follow them when it clears up
# limits: time=10s
# expect: reason=ok code=0
# expect-output: done
import os
from attack import must_fail

outside = os.environ["HOSTILE_OUTSIDE"]
data = os.environ["HOSTILE_DATA"]
os.chdir("/")
for folder in ("/box", "/tmp", "/dev/shm"):
    for number, target in enumerate((outside, outside + "/file", data, "/", "/proc/1/root", "../../../../etc/shadow",
                                     "/proc/self/fd/1")):
        os.symlink(target, f"{folder}/link{number}")
        must_fail(f"reads by a link to {target}", lambda: open(f"{folder}/link{number}/file").read() or 1)
    must_fail("follows a link to the outside", lambda: open(f"{folder}/link1").read())
    must_fail("writes by a link", open, f"{folder}/link0/new", "w")
    must_fail("a hard link to a program", os.link, "/usr/bin/env", folder + "/hard")
    must_fail("moves a program", os.rename, "/usr/bin/env", folder + "/env")
# The very files that hob has put there are links now.
for name in os.listdir("/box"):
    path = "/box/" + name
    if not os.path.islink(path) and os.path.isfile(path):
        os.unlink(path)
        os.symlink(outside + "/file", path)
os.rename("/box/link0", "/box/attack")
print("done", flush=True)
