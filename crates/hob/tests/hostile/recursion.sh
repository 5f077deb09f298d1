# tries: calls itself until there is no room for another call
# limits: time=4s memory=48Mi
# expect: reason=exit|memory|timeout
# never-output: over
deeper() { deeper; }
deeper
echo over
