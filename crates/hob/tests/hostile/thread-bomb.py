# tries: starts threads for as long as it lives
# limits: time=3s pids=32
# expect: reason=pids
import threading

while True:
    try:
        threading.Thread(target=threading.Event().wait).start()
    except RuntimeError:
        pass
