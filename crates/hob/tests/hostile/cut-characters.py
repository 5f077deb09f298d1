# tries: writes characters in parts, and bytes that are none
# limits: time=10s
# expect: reason=ok code=0
# expect-output: "<\u00e9\u20ac\ud83d\ude80>"
# expect-output: "[\ufffd\ufffd]"
# expect-output: "{\ufffd}"
import os
import time

for byte in "<é€🚀>".encode():
    os.write(1, bytes([byte]))
    time.sleep(0.02)
os.write(1, b"[\xff")
time.sleep(0.02)
os.write(1, b"\xfe]")
os.write(1, b"{\xc3")
time.sleep(0.02)
os.write(1, b"}")
