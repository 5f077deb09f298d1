# tries: writes after its parent has ended
# limits: time=5s
# expect: reason=exit code=3
# expect-output: parent
# never-output: child
(sleep 1; echo child) &
echo parent
exit 3
