"""NCCL's interface in CuPy, for ranks that are threads of one process."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import thread_ranks

from backstride.distributed import nccl as under_test


class Nccl:
    """In the place of cupy.cuda.nccl on one rank. calls: what it was asked for, in order."""

    NCCL_UINT8 = 1
    available = True

    def __init__(self, mail, copy):
        """mail: a queue for each (from, to), which the ranks share. copy: (destination, source, bytes, stream, whether
        to wait)."""
        self.mail, self.copy, self.calls, self.group = mail, copy, [], None
        self.NcclCommunicator = self._made

    def get_unique_id(self):
        return (1, 2, 3)

    def _made(self, size, name, rank):
        assert name == (1, 2, 3)
        self.rank = rank
        return SimpleNamespace(send=self._send, recv=self._recv)

    def groupStart(self):
        assert self.group is None
        self.group = []

    def _send(self, *call):
        self.group.append(("send", *call))

    def _recv(self, *call):
        self.group.append(("recv", *call))

    def groupEnd(self):
        """A send and a receive at once: one after the other they would wait for each other."""
        assert sorted(what for what, *_ in self.group) == ["recv", "send"]
        for what, pointer, count, dtype, peer, stream in sorted(self.group, reverse=True):
            assert dtype == self.NCCL_UINT8
            self.calls.append((what, count, peer, stream))
            if what == "send":
                data = ctypes.create_string_buffer(count)
                self.copy(ctypes.addressof(data), pointer, count, stream, True)
                self.mail[self.rank, peer].put((count, data))
            else:
                theirs, data = self.mail[peer, self.rank].get(timeout=thread_ranks.PATIENCE)
                assert theirs == count
                self.copy(pointer, ctypes.addressof(data), count, stream, False)
        self.group = None


def communicators(copy):
    """A function that makes the communicator of a rank of thread_ranks, above this stand-in."""

    def made(rank):
        own = Nccl(rank.job.mail, copy)
        found = under_test.Nccl.__new__(under_test.Nccl)
        found._begin(own, rank)
        return found

    return made
