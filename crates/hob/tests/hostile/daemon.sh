# tries: leaves processes of other sessions, detached from all it can be detached from
# limits: time=5s
# expect: reason=ok code=0
# expect-output: gone
nohup setsid sleep 1000 </dev/null >/dev/null 2>&1 &
(setsid bash -c 'trap "" HUP TERM; while :; do sleep 1000; done' &)
disown -a
echo gone
