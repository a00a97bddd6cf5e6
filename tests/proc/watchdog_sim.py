"""A simulated watchdog: one file in a FUSE mount that answers open, ioctl, write and close as the
kernel's /dev/watchdog does, and counts down in real time. It speaks the kernel's protocol itself."""
import ctypes
import errno
import os
import struct
import tempfile
import threading
import time

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, WRITE, STATFS, RELEASE, FLUSH, INIT, INTERRUPT, IOCTL = (
    1, 2, 3, 4, 14, 16, 17, 18, 25, 26, 36, 39)
GETSUPPORT, KEEPALIVE, SETTIMEOUT, GETTIMEOUT = 0x80285700, 0x80045705, 0xc0045706, 0x80045707
SETTIMEOUT_FLAG, MAGICCLOSE, KEEPALIVE_FLAG = 0x80, 0x100, 0x8000
NAME = b"watchdog"
LIBC = ctypes.CDLL(None, use_errno=True)


class Watchdog:
    """`events` tells what was done to it; `resets` how often a real one would have reset the host."""

    def __init__(self, options=SETTIMEOUT_FLAG | MAGICCLOSE | KEEPALIVE_FLAG):
        self.options = options
        self.timeout = 60
        self.events = []
        self.resets = 0
        self.deadline = None
        self.magic = False
        self.broken = False
        self.mount = tempfile.mkdtemp(prefix="mha-watchdog-")
        self.path = os.path.join(self.mount, NAME.decode())
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        data = f"fd={self.fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if LIBC.mount(b"watchdog", self.mount.encode(), b"fuse", 6, data) < 0:
            raise OSError(ctypes.get_errno(), "mount a FUSE file system")
        threading.Thread(target=self.serve, daemon=True).start()
        threading.Thread(target=self.count, daemon=True).start()

    def close(self):
        LIBC.umount2(self.mount.encode(), 2)
        os.close(self.fuse)
        os.rmdir(self.mount)

    def count(self):
        while True:
            time.sleep(0.02)
            if self.deadline is not None and time.monotonic() > self.deadline:
                self.resets += 1
                self.deadline = None
                self.events.append("reset")

    def feed(self):
        self.deadline = time.monotonic() + self.timeout

    @staticmethod
    def attributes(node):
        mode, size = (0o40755, 0) if node == 1 else (0o100600, 0)
        return struct.pack("<6Q10I", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def ioctl(self, body):
        command, = struct.unpack_from("<I", body, 12)
        given = body[32:]
        answer = b""
        if self.broken:
            return -errno.EIO, b""
        if command == GETSUPPORT:
            answer = struct.pack("<II32s", self.options, 1, b"simulated")
        elif command == KEEPALIVE:
            self.feed()
            self.events.append("feed")
            answer = bytes(4)
        elif command == SETTIMEOUT:
            self.timeout, = struct.unpack_from("<i", given)
            self.feed()
            answer = given[:4]
        elif command == GETTIMEOUT:
            answer = struct.pack("<i", self.timeout)
        else:
            return -errno.ENOTTY, b""
        return 0, struct.pack("<iIII", 0, 0, 0, 0) + answer

    def answer(self, operation, node, body):
        if operation == INIT:
            major, minor, readahead, _ = struct.unpack_from("<4I", body)
            return 0, struct.pack("<IIIIHHIIHHI28x", major, min(minor, 31), readahead, 0, 16, 12,
                                  4096, 1, 1, 0, 0)
        if operation == LOOKUP:
            if body.rstrip(b"\0") != NAME:
                return -errno.ENOENT, b""
            return 0, struct.pack("<QQQQII", 2, 0, 0, 0, 0, 0) + self.attributes(2)
        if operation in (GETATTR, SETATTR):
            return 0, struct.pack("<QII", 0, 0, 0) + self.attributes(node)
        if operation == OPEN:
            if self.deadline is not None and "open" in self.events[-1:]:
                return -errno.EBUSY, b""
            self.magic = False
            self.feed()
            self.events.append("open")
            return 0, struct.pack("<QII", 1, 1, 0)  # direct I/O
        if operation == WRITE:
            self.magic = b"V" in body[40:]
            if not self.magic:
                self.feed()
            return 0, struct.pack("<II", len(body) - 40, 0)
        if operation == RELEASE:
            if self.magic:
                self.deadline = None
            self.events.append("disarmed" if self.magic else "abandoned")
            return 0, b""
        if operation == FLUSH:
            return 0, b""
        if operation == IOCTL:
            return self.ioctl(body)
        return -errno.ENOSYS, b""

    def serve(self):
        while True:
            try:
                request = os.read(self.fuse, 1 << 20)
            except OSError as failure:
                if failure.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                return  # unmounted
            _, operation, unique, node = struct.unpack_from("<IIQQ", request)
            if operation in (FORGET, INTERRUPT):
                continue
            error, answer = self.answer(operation, node, request[40:])
            try:
                os.write(self.fuse, struct.pack("<IiQ", 16 + len(answer), error, unique) + answer)
            except OSError:
                return
