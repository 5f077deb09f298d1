# tries: stops itself, so that it never ends
# limits: time=1s
# expect: reason=timeout
# expect-output: stopping
# never-output: went on
echo stopping
kill -STOP $$
echo went on
