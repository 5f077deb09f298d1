# tries: makes files without end, none of which has a byte
# limits: time=5s memory=64Mi
# expect: reason=ok gvisor=ok|memory|timeout
# last-words: done
import os

total = 0

for folder in ("/box", "/tmp", "/dev/shm"):
    os.chdir(folder)
    try:
        for number in range(10_000_000):
            os.close(os.open(f"{number}", os.O_CREAT | os.O_WRONLY))
    except OSError as error:
        print(folder, number, error, flush=True)
    total += number
if total > 16_384:
    print("BROKEN: made", total, "files", flush=True)
print("done", flush=True)
