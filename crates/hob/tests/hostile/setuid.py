# tries: becomes root: by programs that are, by own ones that say so, and by asking
# limits: time=15s
# expect: reason=ok code=0
# gvisor-allows: Seccomp
# expect-output: done
import os
import shutil
import subprocess
from attack import must_fail, must_not_exist

status = open("/proc/self/status").read()
for line in status.splitlines():
    name, _, value = line.partition(":\t")
    if name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd") and int(value, 16):
        print("BROKEN: has", line, flush=True)
    if name == "NoNewPrivs" and value != "1":
        print("BROKEN:", line, flush=True)
    if name == "Seccomp" and value != "2":
        print("BROKEN:", line, flush=True)
own = os.getuid()
if own != 0:
    for call in (lambda: os.setuid(0), lambda: os.setreuid(0, 0), lambda: os.setresuid(0, 0, 0), lambda: os.seteuid(0),
                 lambda: os.setgid(0), lambda: os.setresgid(0, 0, 0)):
        must_fail("to be root", call)
must_fail("groups", os.setgroups, [0, 4, 27])
must_fail("chown", os.chown, "/usr/bin/env", own, own)
must_not_exist("capset", b"\x22\x05\x08\x20\0\0\0\0", b"\xff" * 24)
for program in ("id", "env"):
    copy = shutil.copy(shutil.which(program), "/box/" + program)
    try:
        os.chmod(copy, 0o6755)
    except OSError:
        pass
said = subprocess.run(["/box/id", "-u"], capture_output=True, text=True).stdout.strip()
if said and said != str(own):
    print("BROKEN: an own program is", said, flush=True)
for argv in (["su", "-c", "id -u"], ["sudo", "-n", "id", "-u"], ["mount", "-t", "tmpfs", "none", "/tmp"],
             ["ping", "-c", "1", "-W", "1", "127.0.0.1"], ["passwd", "-d", "root"], ["newgrp", "root"],
             ["pkexec", "id", "-u"], ["crontab", "-l"], ["newuidmap", str(os.getpid()), "0", "0", "1"]):
    if shutil.which(argv[0]) is None:
        continue
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=5, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        continue
    if done.returncode == 0 and argv[0] not in ("newgrp", "crontab", "ping"):
        print("BROKEN:", argv, done.stdout, flush=True)
    if argv[0] in ("su", "sudo", "pkexec") and done.stdout.strip() == "0" and own != 0:
        print("BROKEN:", argv, "is root", flush=True)
print("done", flush=True)
