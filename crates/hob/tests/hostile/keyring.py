# tries: reads and fills the kernel's keyrings, which know no namespace
# limits: time=10s
# expect: reason=ok code=0
# expect-output: done
from attack import must_not_exist

for keyring in range(-8, 0):
    must_not_exist("keyctl", 0, keyring, 1, 0, 0)  # get its id
    must_not_exist("keyctl", 11, keyring, 0, 0, 0)  # read
    must_not_exist("add_key", b"user", b"hostile", b"planted", 7, keyring)
must_not_exist("keyctl", 1, b"hostile", 0, 0, 0)  # join a session
must_not_exist("request_key", b"user", b"hostile", 0, -3)
print("done", flush=True)
