"""The process that runs kernels (server.cpp), and what it says when one of them commits a fault."""

from __future__ import annotations

import atexit
import os
import re
import select
import subprocess
import threading
from pathlib import Path

from . import memory
from .build import server_program

_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
_REASONS = (r"REASON (.*)", r"runtime error: (.*)", r"ERROR: AddressSanitizer: (.*?) \(")


class Server:
    """A fault ends the process; the next launch starts another, with the same device memory."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        atexit.register(self.stop)

    def run(self, request: bytes) -> str | None:
        """Performs one launch; returns the report of its fault, if any."""
        with self._lock:
            process = self._process = self._process or self._start()
            assert process.stdin
            assert process.stdout
            try:
                process.stdin.write(request)
                process.stdin.flush()
            except BrokenPipeError:
                return self.stop()
            seconds = float(os.environ.get("EMULATOR_TIMEOUT", "300"))
            if not select.select([process.stdout], [], [], seconds)[0]:
                process.kill()
                self.stop()
                return f"REASON the kernel did not end within {seconds:g} s"
            return None if os.read(process.stdout.fileno(), 1) else self.stop()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [server_program(), *map(str, (memory.descriptor, memory.BASE, memory.TOTAL_BYTES))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[memory.descriptor],
            env=os.environ | _ENVIRONMENT,
        )

    def stop(self) -> str:
        """Ends the process and returns what it wrote to stderr."""
        process, self._process = self._process, None
        return process.communicate()[1].decode(errors="replace") if process else ""


def explain(report: str, source: Path) -> str:
    """What happened where: a report without the sanitizers' register and shadow dumps, with lines of the source."""
    place = re.search(r"FAULT in (.*)", report)
    reason = next(filter(None, (re.search(pattern, report) for pattern in _REASONS)), None)
    if not reason:
        return report
    text = source.read_text(encoding="utf-8").splitlines()
    frames = re.findall(rf"#\d+ \S+ in (\w+).*? {re.escape(str(source))}:(\d+)", report)
    lines = [f"  {name}, line {n}: {text[int(n) - 1].strip()}" for name, n in frames if name != "emulator_entry"]
    return "\n".join([f"{place[1]}: {reason[1]}" if place else reason[1], *lines])
