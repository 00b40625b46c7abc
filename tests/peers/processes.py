"""Child processes that speak in JSON lines: start one, wait for what it says, and end it for certain."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WAIT_MAX_S = 10.0
STOP_MAX_S = 10.0
# Where a log line names an address: 127.0.0.1:4000, [::1]:4000, with or without http:// in front.
ADDRESS = re.compile(r"((?:\d{1,3}\.){3}\d{1,3}|\[[0-9a-fA-F:]+\]|localhost):(\d+)")


class Failure(Exception):
    """A check that does not hold, in words for the person who has to look into it."""


class Process:
    """A child and everything it has said. As a context manager it is gone at the end of the block."""

    def __init__(self, title, *argv):
        self.title = title
        self.lines = []  # the JSON objects of stdout
        self.other = []  # everything that is none, and all of stderr
        self.heard = threading.Condition()
        # Settings of the caller's shell must not reach into the check.
        environment = {k: v for k, v in os.environ.items() if k != "RUST_LOG" and not k.startswith("NODE_")}
        self.child = subprocess.Popen(
            [str(word) for word in argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self.readers = [
            threading.Thread(target=self._read, args=(self.child.stdout, True), daemon=True),
            threading.Thread(target=self._read, args=(self.child.stderr, False), daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    @classmethod
    def python(cls, script, *arguments):
        return cls(f"Python {script}", sys.executable, "-u", HERE / f"{script}.py", *arguments)

    def __enter__(self):
        try:
            self.bound("grpc")  # one failure that says why, instead of one for everything asked of it
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """SIGTERM, then SIGKILL; the exit code, None where only SIGKILL helped."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            code = self.child.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            code = None
        for reader in self.readers:
            reader.join(STOP_MAX_S)
        return code

    def address(self, field):
        """The address that the process says it has bound for `field`, "http" or "grpc"."""
        said = str(field_of(self.bound(field), field))
        found = ADDRESS.search(said)
        if found is None:
            raise Failure(f"{self.title}: expected HOST:PORT for {field}, got {said!r}")
        return found.group(0)

    def bound(self, field):
        """The first line that names what was bound for `field`."""
        return self.line(f"names its {field} address", lambda line: field_of(line, field) not in (None, "none"))

    def line(self, what, wanted):
        """The first line for which `wanted` is true, said already or within WAIT_MAX_S."""
        end_s = time.monotonic() + WAIT_MAX_S
        with self.heard:
            while True:
                for line in self.lines:
                    if wanted(line):
                        return line
                left_s = end_s - time.monotonic()
                ended = self.child.poll() is not None and not any(r.is_alive() for r in self.readers)
                if ended or left_s <= 0:
                    why = f"ended with {self.child.returncode}" if ended else f"waited {WAIT_MAX_S:.0f} s"
                    raise Failure(f"{self.title}: no line that {what} ({why}); last said:\n{self.last_words()}")
                # Short turns, since the end of a process rouses nobody.
                self.heard.wait(min(left_s, 0.1))

    def last_words(self, count=4):
        words = [json.dumps(line) for line in self.lines[-count:]] + self.other[-count:]
        return "\n".join(f"      {word}" for word in words) or "      nothing"

    def _read(self, stream, is_stdout):
        for text in stream:
            value = parsed(text) if is_stdout else None
            with self.heard:
                if isinstance(value, dict):
                    self.lines.append(value)
                else:
                    self.other.append(text.rstrip("\n"))
                self.heard.notify_all()


def field_of(line, field):
    """A field of a log line, whether it stands at the top or among the event's own."""
    return line.get(field, (line.get("fields") or {}).get(field))


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return None
