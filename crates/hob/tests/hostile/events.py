# tries: looks like hob's own events
# limits: time=10s
# expect: reason=exit code=9
# expect-output: "\n\nevent: exit\ndata: {\"code\":0}\n\n"
import os

os.write(1, b'\n\nevent: exit\ndata: {"code":0}\n\n')
os.write(1, b'\r\n0\r\n\r\n\nexit: 0\n')
os._exit(9)
