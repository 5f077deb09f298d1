# tries: sleeps for ever with every signal blocked, in several threads
# limits: time=1s
# expect: reason=timeout
# expect-output: asleep
import signal
import threading

signal.pthread_sigmask(signal.SIG_SETMASK, set(signal.valid_signals()) - {0})
for _ in range(4):
    threading.Thread(target=threading.Event().wait).start()
print("asleep", flush=True)
while True:
    signal.sigwait([signal.SIGUSR1])
