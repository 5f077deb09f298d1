# tries: asks the machine's provider who it is
# limits: time=15s
# expect: reason=ok code=0
# expect-output: done
import socket
from attack import must_fail

for address in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "10.0.0.1",
                "fd00:ec2::254", "fe80::a9fe:a9fe%1", "1.1.1.1", "2606:4700:4700::1111"):
    for port in (80, 443):
        must_fail(f"a connection to {address}", socket.create_connection, (address, port), 0.2)
for address in ("169.254.169.254", "8.8.8.8", "255.255.255.255", "224.0.0.251"):
    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            return sender.sendto(b"x", (address, 53))
    must_fail(f"a datagram to {address}", send)
print("done", flush=True)
