# tries: uses up its processor time before its deadline
# limits: time=20s cpu=1s
# expect: reason=timeout
while True:
    pass
