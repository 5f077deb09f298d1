# tries: nothing; all of what it is sent is there, and then its end
# limits: time=10s
# stdin: 1000000
# expect: reason=ok code=0
# expect-output: 1000000
wc -c
