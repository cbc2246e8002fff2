"""The first code of the locked-down child: it gives up what it may do, then runs the program.

`sandbox.py` starts this file as a script of its own, so it imports nothing of brodmann. Its
arguments: the descriptor of the job, the length of the job, the descriptor for the verdict, and
the process id of the parent.
"""

import builtins
import ctypes
import json
import os
import resource
import signal
import stat
import struct
import sys
import types
from typing import Any

_PDEATHSIG, _SECCOMP, _NO_NEW_PRIVS = 1, 22, 38  # of prctl
_FILTER_MODE = 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # Landlock, on every machine
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_TOKEN = 64  # bytes, read from the job only when all has run


def main() -> None:
    """Lock this process down, run the program, and hand back the token if it ran to its end."""
    job_at, size, verdict_at, parent = map(int, sys.argv[1:])
    job = json.loads(os.read(job_at, size))
    _limit(job)
    libc = ctypes.CDLL(None, use_errno=True)
    _call("prctl", libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
    _call("no_new_privs", libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    _restrict_files(libc, job["readable"])
    _restrict_calls(libc, bytes.fromhex(job["filter"]))
    os.write(verdict_at, b"locked")
    _run(job["source"], job["then"], job_at, verdict_at)


def _limit(job: dict[str, Any]) -> None:
    """Set the limits that the kernel keeps; the parent keeps time, output and threads."""
    cpu = job["cpu_seconds"]
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_AS, job["memory"], job["memory"]),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        most = resource.getrlimit(kind)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))


def _restrict_files(libc: ctypes.CDLL, readable: list[str]) -> None:
    """Let Landlock allow reading below some paths and nothing else; no TCP, no foreign signals."""
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        sys.exit("Landlock is missing (Linux 5.13 or later, switched on)")
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    # Rights on files, on TCP ports (from version 4), and the scopes of signals (from 6).
    length = 8 if version < 4 else 16 if version < 6 else 24
    attributes = struct.pack("=QQQ", rights, 3, 3)[:length]
    rules = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(length), 0)
    _call("Landlock's rules", rules)
    for path in readable:
        at = os.open(path, os.O_PATH | os.O_CLOEXEC)
        right = _READ_FILE | (_READ_FOLDER if stat.S_ISDIR(os.fstat(at).st_mode) else 0)
        rule = struct.pack("=Qi", right, at)
        _call(f"Landlock's rule for {path}", libc.syscall(_ADD_RULE, rules, 1, rule, 0))
        os.close(at)
    _call("Landlock", libc.syscall(_RESTRICT_SELF, rules, 0))
    os.close(rules)


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _restrict_calls(libc: ctypes.CDLL, instructions: bytes) -> None:
    program = _FilterProgram(len(instructions) // 8, instructions)
    _call("seccomp", libc.prctl(_SECCOMP, _FILTER_MODE, ctypes.byref(program), 0, 0))


def _call(what: str, result: int) -> None:
    if result < 0:
        sys.exit(f"{what} cannot be set up: {os.strerror(ctypes.get_errno())}")


def _run(source: str, then: str, job_at: int, verdict_at: int) -> None:
    """Run both parts in one namespace; the token goes back only from behind the last line.

    What is used afterwards is taken hold of first: the program may replace any name.
    """
    execute, read, write, leave = exec, os.read, os.write, os._exit
    module, own = types.ModuleType("__main__"), sys.modules["__main__"]
    sys.modules["__main__"], sys.argv[:] = module, ["program.py"]
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # which -S leaves out
    program = compile(source, "program.py", "exec", dont_inherit=True)
    write(verdict_at, b"compiled")
    for part in (program, compile(then, "tests.py", "exec", dont_inherit=True)):
        execute(part, module.__dict__)
    _wait_for_threads()
    sys.stdout.flush()
    # Backwards: a program that copies whatever it can read to wherever it can write earns nothing.
    write(verdict_at, read(job_at, _TOKEN)[::-1])
    del own  # which held the names above until here
    leave(0)


def _wait_for_threads() -> None:
    threading = sys.modules.get("threading")
    if threading is None:
        return
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


if __name__ == "__main__":
    main()
