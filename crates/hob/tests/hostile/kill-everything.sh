# tries: kills all that it sees, its init included
# limits: time=5s
# expect: reason=ok code=0
# expect-output: done
kill -9 -1
kill -9 1
kill -TERM 1
kill -SEGV 1
echo done
