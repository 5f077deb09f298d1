# tries: forks for as long as it lives, and its children do the same
# limits: time=3s cpu=1s pids=32
# expect: reason=pids|timeout gvisor=pids|timeout|memory
# fills: pids
# never-output: over
bomb() { bomb | bomb & }
bomb
while :; do bomb; done
echo over
