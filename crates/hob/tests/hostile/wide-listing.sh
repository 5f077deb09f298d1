# tries: asks for all that it can see, which is much and takes long
# limits: time=3s output=64Ki
# expect: reason=ok|exit|timeout|output
find / -xdev 2>/dev/null
