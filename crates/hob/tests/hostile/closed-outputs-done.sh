# tries: closes its outputs at once, and ends only later: its exit status has to come all the same
# limits: time=10s
# expect: reason=exit code=5
exec >&- 2>&- <&-
sleep 0.3
exit 5
