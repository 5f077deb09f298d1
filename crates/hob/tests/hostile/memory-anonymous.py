# tries: takes memory and writes to it
# limits: time=10s memory=48Mi
# expect: reason=memory
held = []
while True:
    held.append(bytearray(b"x" * (1 << 20)))
