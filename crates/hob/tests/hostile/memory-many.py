# tries: takes memory by many processes, none of which has much
# limits: time=3s memory=64Mi pids=64
# expect: reason=memory
import os
import signal

for _ in range(40):
    if os.fork() == 0:
        held = bytearray(b"x" * (8 << 20))
        signal.pause()
while True:
    signal.pause()
