#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""jobs.py TARN PID: runs `tarn top PID` as a shell with job control does, on a terminal of its own, and
looks at the terminal's modes: while it draws keys come at once and are not shown; stopped, in the
background, and when it has ended, however that comes, they are as they were."""
import fcntl
import os
import select
import signal
import sys
import termios
import time

TARN, SUBJECT = sys.argv[1:]
SECONDS = 20
LONG = ("--interval", "600000")  # it draws again by itself after the test


def fail(text):
    print("FAILED: " + text)
    os._exit(1)


class Terminal:
    def __init__(self):
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""

    def take(self):
        self.seen += os.read(self.master, 65536)

    def until(self, done, what):
        """Reads what is printed meanwhile."""
        end = time.monotonic() + SECONDS
        while not (got := done()):
            if time.monotonic() > end:
                fail("not in %d s: %s; printed was %r" % (SECONDS, what, self.seen))
            if select.select([self.master], [], [], 0.01)[0]:
                self.take()
        return got

    def drawn(self, what):
        self.until(lambda: b"\x1b[2J" in self.seen and b"heap" in self.seen, "draws anew " + what)
        self.until(self.is_raw, "takes keys at once " + what)
        self.seen = b""

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO)

    def is_as_before(self, what):
        while select.select([self.master], [], [], 0)[0]:
            self.take()
        if termios.tcgetattr(self.slave) != self.before:
            fail("the terminal is not as it was: " + what)
        self.seen = b""


class Job:
    def __init__(self, terminal, *options, output=None):
        self.terminal = terminal
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(terminal.slave, os.getpid())
            for number in (signal.SIGTTOU, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            for number in range(3):
                os.dup2(output if output and number == 1 else terminal.slave, number)
            os.execve(TARN, [TARN, "top", *options, SUBJECT], {**os.environ, "TERM": "xterm"})

    def key(self, key):
        os.write(self.terminal.master, key)

    def change(self, what):
        """Its next change of state, as of waitpid."""
        return self.terminal.until(
            lambda: (got := os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG))[0] and [got[1]], what)[0]

    def stopped(self, what):
        if not os.WIFSTOPPED(status := self.change("stops " + what)):
            fail("%s: it ended with %#x" % (what, status))
        os.tcsetpgrp(self.terminal.slave, os.getpgrp())

    def ended(self, what):
        if (status := self.change("ends " + what)) not in (0, 0x100):
            fail("%s: it ended with %#x" % (what, status))
        os.tcsetpgrp(self.terminal.slave, os.getpgrp())
        self.terminal.is_as_before(what)

    def go_on(self, foreground=True):
        if foreground:
            os.tcsetpgrp(self.terminal.slave, self.pid)
        os.killpg(self.pid, signal.SIGCONT)


def shell():
    os.setsid()
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    terminal = Terminal()

    job = Job(terminal, *LONG)
    terminal.drawn("at first")
    for what in "first Ctrl-Z", "second Ctrl-Z":
        job.key(b"\x1a")
        job.stopped("on the " + what)
        terminal.is_as_before(what)
        job.go_on()
        terminal.drawn("after the " + what)
    # Stopped without notice: a shell gives itself the modes that it wants.
    os.kill(job.pid, signal.SIGSTOP)
    job.stopped("on SIGSTOP")
    termios.tcsetattr(terminal.slave, termios.TCSANOW, terminal.before)
    job.go_on()
    terminal.drawn("after SIGSTOP")
    job.key(b"q")
    job.ended("on q")

    # In the background it leaves the terminal alone, and is not stopped for touching it.
    job = Job(terminal, "--interval", "20")
    terminal.drawn("at first")
    job.key(b"\x1a")
    job.stopped("on Ctrl-Z")
    job.go_on(foreground=False)
    terminal.until(lambda: b"heap" in terminal.seen, "draws in the background")
    terminal.is_as_before("in the background")
    os.kill(job.pid, signal.SIGTERM)
    job.ended("in the background")

    for key, what in (b"\x1c", "Ctrl-\\"), (b"\x03", "Ctrl-C"):
        job = Job(terminal, *LONG)
        terminal.drawn("at first")
        job.key(key)
        job.ended("on " + what)

    # Nobody reads any more what it prints.
    ends = os.pipe()
    job = Job(terminal, "--interval", "20", output=ends[1])
    os.close(ends[1])
    terminal.until(terminal.is_raw, "takes keys at once")
    os.close(ends[0])
    job.ended("when nobody reads")


if __name__ == "__main__":
    child = os.fork()
    if child == 0:
        shell()
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
