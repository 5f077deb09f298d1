# tries: forks for as long as it lives, and its children do the same
# limits: time=3s pids=32
# expect: reason=pids
# never-output: over
bomb() { bomb | bomb & }
bomb
while :; do bomb; done
echo over
