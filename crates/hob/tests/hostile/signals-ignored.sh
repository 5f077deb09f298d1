# tries: sleeps for ever and ignores every signal
# limits: time=1s
# expect: reason=timeout
# expect-output: asleep
trap '' $(seq 1 31) 2>/dev/null
echo asleep
while :; do sleep 1000; done
