# tries: writes a byte now and then, so that it never looks idle
# limits: time=1s
# expect: reason=timeout
# expect-output: ..
import os
import time

while True:
    os.write(1, b".")
    time.sleep(0.01)
