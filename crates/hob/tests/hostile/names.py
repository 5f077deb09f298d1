# tries: asks for names, and so tells somebody outside
# limits: time=15s
# expect: reason=ok code=0
# expect-output: done
import socket
from attack import must_fail

for name in ("example.com", "metadata.google.internal", "_api.internal", "host.docker.internal", "kubernetes.default"):
    must_fail(f"the address of {name}", socket.getaddrinfo, name, 80)
print("done", flush=True)
