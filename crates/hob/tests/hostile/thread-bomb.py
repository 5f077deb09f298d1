# tries: starts threads for as long as it lives
# limits: time=10s cpu=1s pids=32
# expect: reason=pids|timeout gvisor=pids|timeout|memory
# fills: pids
import threading

while True:
    try:
        threading.Thread(target=threading.Event().wait).start()
    except RuntimeError:
        pass
