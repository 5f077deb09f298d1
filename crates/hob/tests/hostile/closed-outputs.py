# tries: closes all that it was given and goes on in silence
# limits: time=1s
# expect: reason=timeout
# expect-output: closing
import os
import time

os.write(1, b"closing")
for number in range(3):
    os.close(number)
while True:
    time.sleep(1)
