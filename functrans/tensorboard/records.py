"""Files of records, as TensorFlow writes them: length, checksum of the length, bytes, checksum of these."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from threading import RLock

from .. import errors
from .crc32c import crc32c

_numbers = itertools.count()
FLUSH_BYTES = 1 << 20


def masked(crc: int) -> int:
    """A checksum of data that may hold checksums itself."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return b"".join((length, struct.pack("<I", masked(crc32c(length))), content,
                     struct.pack("<I", masked(crc32c(content)))))


class RecordFile:
    """A file of records in a folder, under a name that no other writer has; made at once.

    What is written waits in memory until there is much of it, ``flush_secs`` have passed, or ``flush`` is
    called; then whole records go to the file. A forked child that writes gets a file of its own.
    """

    def __init__(self, folder: str, suffix: str, flush_secs: float, head: bytes):
        self.folder, self.suffix, self.flush_secs, self.head = folder, suffix, flush_secs, head
        self.lock = RLock()
        self.closed = False
        self._open()

    def _open(self) -> None:
        self.pid, self.waiting, self.flushed = os.getpid(), [record(self.head)], time.monotonic()
        self.size = 0
        host = socket.gethostname().replace("/", "_") or "localhost"
        name = f"events.out.tfevents.{int(time.time()):010d}.{host}.{self.pid}.{next(_numbers)}{self.suffix}"
        self.path = os.path.join(self.folder, name)
        try:
            os.makedirs(self.folder, exist_ok=True)
            self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
                              | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as e:
            raise errors.LogdirError(
                f"SummaryWriter cannot write to the folder {self.folder!r}: {e.strerror}.",
                "Give a folder that exists or can be made, on a disk with room.") from None
        self.flush()

    def write(self, content: bytes) -> None:
        with self.lock:
            if os.getpid() != self.pid:
                self._open()
            made = record(content)
            self.waiting.append(made)
            self.size += len(made)
            if self.size > FLUSH_BYTES or time.monotonic() - self.flushed > self.flush_secs:
                self.flush()

    def flush(self) -> None:
        with self.lock:
            if os.getpid() != self.pid:
                return
            rest = memoryview(b"".join(self.waiting))
            try:
                while rest:
                    rest = rest[os.write(self.fd, rest):]
            except OSError as e:
                self.waiting = [bytes(rest)]    # what is left: a record is never written twice
                raise errors.LogdirError(f"SummaryWriter cannot write to {self.path!r}: {e.strerror}.",
                                         "What waits is written by the next flush().") from None
            self.waiting, self.size, self.flushed = [], 0, time.monotonic()

    def close(self) -> None:
        with self.lock:
            if not self.closed:
                self.closed = True
                self.flush()
                if os.getpid() == self.pid:
                    os.close(self.fd)
