# tries: takes nothing of what it is sent, and ends
# limits: time=10s
# stdin: 1000000
# expect: reason=ok code=0
# expect-output: done
echo done
