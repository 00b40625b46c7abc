"""A node as a process: started, measured from outside, and ended for certain."""

import json
import os
import re
import signal
import subprocess
import time

START_MAX_S = 10.0
TICK_S = os.sysconf("SC_CLK_TCK")
ADDRESS = re.compile(r'"(http|grpc)":"([^"]+)"')


class Failure(Exception):
    """What must be true is not, in words for the person who has to look into it."""


class Node:
    """A running node. Its log goes to a file, which is read when somebody asks: reading along would cost the
    attacker's time. With a `stdout` of the caller's, it goes there after the first line."""

    def __init__(self, binary, log_path, *flags, unread=False):
        # Settings of the caller's shell must not reach into the check.
        environment = {k: v for k, v in os.environ.items() if k != "RUST_LOG" and not k.startswith("NODE_")}
        self.is_json = "--log-format" not in flags
        words = [binary, *flags, *(["--log-format", "json"] if self.is_json else [])]
        self.log_path = log_path
        self.pipe = None
        if unread:
            self.pipe, out = os.pipe()
        else:
            out = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        self.child = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        os.close(out)
        self.http, self.grpc = None, None
        try:
            self._read_addresses()
        except BaseException:
            self.kill()
            raise

    def _read_addresses(self):
        end, said = time.monotonic() + START_MAX_S, ""
        while time.monotonic() < end and self.child.poll() is None:
            said = os.read(self.pipe, 4096).decode() if self.pipe else self.log_path.read_text(errors="replace")
            if "\n" in said:
                plain = re.sub(r'(\b(?:http|grpc))="?([^" ]+)"?', r'"\1":"\2"', said) if said[0] != "{" else said
                found = dict(ADDRESS.findall(plain.splitlines()[0]))
                self.http, self.grpc = (address_of(found.get(key, "none")) for key in ("http", "grpc"))
                return
            time.sleep(0.02)
        raise Failure(f"the node did not start, it said {said!r}")

    @property
    def is_alive(self):
        return self.child.poll() is None

    def peak_mib(self):
        """The most memory that it ever had (proc(5): VmHWM)."""
        with open(f"/proc/{self.child.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

    def cpu_s(self):
        """The seconds that its threads have run until now."""
        with open(f"/proc/{self.child.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK_S

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def lines(self):
        """The log so far, as objects; what is no JSON stands under "text"."""
        return [parsed(line) for line in self.log_path.read_text(errors="replace").splitlines()]

    def access_lines(self):
        return [line for line in self.lines() if line.get("target") == "access"]

    def errors(self):
        """What was logged at ERROR, and what is no line of the log at all, as a panic's words."""
        if self.is_json:
            return [line for line in self.lines() if line.get("level") == "ERROR" or "text" in line]
        return [line for line in self.lines() if line["text"].split(" ")[1:2] == ["ERROR"]]

    def terminate(self, within_s):
        """SIGTERM: how long it took to end and with which code; None where it did not within `within_s`."""
        started = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        try:
            code = self.child.wait(within_s)
            return time.monotonic() - started, code
        except subprocess.TimeoutExpired:
            return time.monotonic() - started, None

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None


def address_of(text):
    """(host, port) of HOST:PORT; None of what is no address."""
    host, colon, port = text.rpartition(":")
    return (host, int(port)) if colon and port.isdigit() else None


def parsed(line):
    try:
        return json.loads(line)
    except ValueError:
        return {"text": line}


def has_flag(binary, flag):
    """Whether this node knows a flag."""
    return flag in subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout
