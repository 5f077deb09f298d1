# tries: starts threads for as long as it lives
# limits: time=1s pids=32
# expect: reason=pids|timeout
import threading

while True:
    try:
        threading.Thread(target=threading.Event().wait).start()
    except RuntimeError:
        pass
