# tries: makes folders so deep that nobody can walk to their end, and names that are no text
# limits: time=5s memory=64Mi
# expect: reason=ok gvisor=ok|memory|timeout
# last-words: done
import os

for name in (b"\xff\xfe", b"line\nfeed", b"-rf", b"$(reboot)", b"x" * 255, b"\x1b[2J"):
    os.mkdir(b"/box/" + name)
for folder in ("/box", "/tmp"):
    os.chdir(folder)
    try:
        for _ in range(20_000):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
    except OSError as error:
        print(folder, error, flush=True)
print("done", flush=True)
