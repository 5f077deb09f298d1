# tries: takes memory that is a file without a name
# limits: time=10s memory=48Mi
# expect: reason=memory|exit
import os

file = os.memfd_create("hog")
while True:
    os.write(file, b"x" * (1 << 20))
