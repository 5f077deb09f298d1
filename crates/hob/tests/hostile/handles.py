# tries: opens files by their handles, which need no path
# limits: time=10s
# expect: reason=ok code=0
# expect-output: done
import ctypes
import os
import struct
from attack import must_not_exist

for folder in ("/usr", "/box", "/proc", "/"):
    directory = os.open(folder, os.O_RDONLY)
    # Inode 2, the root of most filesystems.
    for kind, inode in ((1, struct.pack("<II", 2, 0)), (0x81, struct.pack("<IQ", 0, 2))):
        handle = ctypes.create_string_buffer(struct.pack("<Ii", len(inode), kind) + inode + bytes(128))
        must_not_exist("open_by_handle_at", directory, ctypes.cast(handle, ctypes.c_void_p), os.O_RDONLY)
print("done", flush=True)
