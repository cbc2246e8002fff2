"""Hostile and benign programs, each really run in the locked-down child."""

import os
import platform
import resource
import secrets
import signal
import stat
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from brodmann.errors import RunError
from brodmann.evaluate import sandbox
from brodmann.evaluate.sandbox import Limits, Outcome, run_program
from brodmann.evaluate.sandbox_filter import machines, seccomp_filter

QUICK = Limits(seconds=1.5)


def run(program: str, **options) -> Outcome:
    return run_program(textwrap.dedent(program), **options)


def attempt(body: str, **values) -> Outcome:
    """Run an attack whose every refusal is an OSError; ``values`` are names it can use."""
    given = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    program = f"import os\n{given}try:\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
    program += "except OSError as error:\n    print('refused')\nelse:\n    print('BREACH')\n"
    return run_program(program)


# What the verdict says.


def test_a_program_that_runs_to_its_end_has_passed():
    outcome = run("print('hello')", then="assert 1 + 1 == 2")
    assert (outcome.status, outcome.exit_code, outcome.stdout) == ("passed", 0, "hello\n")
    assert outcome.compiled and outcome.stderr == ""


def test_tests_run_in_the_namespace_of_the_program():
    source = "def double(x):\n    return 2 * x\n"
    assert run_program(source, then="assert double(2) == 4").status == "passed"
    wrong = run_program(source, then="assert double(2) == 5")
    assert (wrong.status, wrong.compiled) == ("failed", True)
    assert "AssertionError" in wrong.stderr


def test_what_is_not_python_does_not_compile():
    outcome = run_program("def f(:\n")
    assert (outcome.status, outcome.compiled) == ("failed", False)
    assert "SyntaxError" in outcome.stderr


@pytest.mark.parametrize(
    "source",
    [
        "import os; os._exit(0)",
        "import sys; sys.exit(0)",
        "exit = quit = None; raise SystemExit",
        "print('passed'); print('locked' 'compiled'); raise SystemExit(0)",
        "import sys; sys.exit = lambda *a: None; raise SystemExit(0)",
        "import atexit, os; atexit.register(os._exit, 0); raise SystemExit(3)",
        "import builtins\nbuiltins.exec = lambda *a: None\nbuiltins.compile = lambda *a, **k: ''",
        "import builtins\nbuiltins.AssertionError = type('Quiet', (BaseException,), {})",
        "AssertionError = None",
        "import sys; sys.excepthook = lambda *a: None",
        "import sys, os; sys.excepthook = lambda *a: os._exit(0)",
        "import signal, os\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\n"
        "signal.alarm(1)\nimport time; time.sleep(3)",
        "import threading, os\nthreading.Thread(target=os._exit, args=(0,)).start()\n"
        "import time; time.sleep(1)",
        'text = """',
        "numbers = [",
        "if True:",
        "pass; \\",
        # Whatever can be read is written wherever it can be.
        "import os\nfor source in range(3, 64):\n  for to in range(3, 64):\n"
        "    try: os.write(to, os.read(source, 4096))\n    except OSError: pass\nos._exit(0)",
    ],
)
def test_no_program_passes_tests_that_it_does_not_satisfy(source):
    outcome = run_program(source, then="assert answer() == 42", limits=Limits(seconds=5))
    assert outcome.status != "passed"


def test_a_program_may_print_before_it_fails():
    outcome = run("import sys; print('so far'); sys.stdout.flush(); raise ValueError('no')")
    assert (outcome.status, outcome.stdout, outcome.exit_code) == ("failed", "so far\n", 1)
    assert outcome.stderr.endswith("ValueError: no\n")


def test_input_is_read_from_stdin():
    for reads in ("input()", "__import__('sys').stdin.read()", "open(0).read()"):
        assert run(f"print({reads}.split()[1])", stdin="1 22\n").stdout == "22\n"
    assert "EOFError" in run("input()").stderr


def test_two_runs_give_one_order_of_sets():
    program = "print(list({'a', 'b', 'c', 'd', 'e', 'f', 'g'}))"
    assert run(program).stdout == run(program).stdout


# Files.


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("secret words")
    path.chmod(0o666)
    return path


@pytest.mark.parametrize(
    "attack",
    [
        "open(path, 'w').write('x')",
        "open(path, 'a').write('x')",
        "open(path, 'r+').write('x')",
        "os.open(path, os.O_WRONLY)",
        "os.open(path, os.O_RDWR)",
        "os.open(path, os.O_RDONLY | os.O_TRUNC)",
        "os.open(path, os.O_RDONLY | os.O_CREAT)",
        "os.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR)",
        "os.truncate(path, 0)",
        "os.remove(path)",
        "os.rename(path, path + '2')",
        "os.replace(path, os.path.join(os.getcwd(), 'mine'))",
        "os.chmod(path, 0)",
        "os.chown(path, 1, 1)",
        "os.utime(path, (1, 1))",
        "os.setxattr(path, 'user.x', b'x')",
        "os.link(path, path + '2')",
        "os.symlink(path, 'mine')",
        "os.symlink('/tmp', path + '2')",
        "os.mkdir(path + '2')",
        "os.rmdir(os.path.dirname(path))",
        "os.mkfifo(path + '2')",
        "os.mknod(path + '2')",
        "import shutil; shutil.copy('/dev/null', path)",
        "open(os.path.relpath(path), 'w')",
        "open('../' * 20 + path, 'w')",
        "open('mine', 'w')",
        "open(os.path.expanduser('~/mine'), 'w')",
        "open('/tmp/brodmann-was-here', 'w')",
        "open('/dev/shm/brodmann-was-here', 'w')",
        "import tempfile; tempfile.TemporaryFile()",
        "import sqlite3; sqlite3.connect(path + '.db')\nraise OSError"
        " if not os.path.exists(path + '.db') else SystemExit",
        "os.memfd_create('x')",
    ],
)
def test_no_file_is_made_changed_or_removed(victim, attack):
    before = victim.stat()
    outcome = attempt(attack, path=str(victim))
    assert outcome.stdout.strip() != "BREACH"
    assert outcome.stdout == "refused\n" or "sqlite3.OperationalError" in outcome.stderr
    assert victim.read_text() == "secret words"
    after = victim.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime) == (
        before.st_mode,
        before.st_uid,
        before.st_mtime,
    )
    assert list(victim.parent.iterdir()) == [victim]
    assert not any(Path(at, "brodmann-was-here").exists() for at in ("/tmp", "/dev/shm"))


def test_a_file_of_python_cannot_be_changed_through_a_descriptor():
    # fchmod and ioctl work on descriptors that are open for reading only.
    source = os.__file__
    before = stat.S_IMODE(Path(source).stat().st_mode)
    outcome = attempt(
        """
        import fcntl, struct
        at = os.open(path, os.O_RDONLY)
        for attack in (
            lambda: os.fchmod(at, 0),
            lambda: os.fchown(at, 1, 1),
            lambda: os.utime(at, (1, 1)),
            lambda: os.setxattr(at, 'user.x', b'x'),
            lambda: fcntl.ioctl(at, 0x40086602, struct.pack('l', 0x10)),
            lambda: fcntl.flock(at, fcntl.LOCK_EX),
            lambda: fcntl.fcntl(at, fcntl.F_SETOWN, os.getppid()),
            lambda: fcntl.fcntl(at, 10, 9),
        ):
            try:
                attack()
            except PermissionError:
                continue
            break
        else:
            raise OSError
        """,
        path=source,
    )
    assert outcome.stdout == "refused\n", outcome.stderr
    assert stat.S_IMODE(Path(source).stat().st_mode) == before


@pytest.mark.parametrize(
    "attack",
    [
        "print(open(path).read())",
        "print(os.listdir(os.path.dirname(path)))",
        "os.chdir(os.path.dirname(path))",
        "print(open('/proc/self/environ').read())",
        "print(open(f'/proc/{os.getppid()}/environ').read())",
        "print(open(f'/proc/{os.getppid()}/mem', 'rb').read(1))",
        "print(open(f'/proc/{os.getppid()}/cmdline').read())",
        "print(os.listdir('/proc'))",
        "print(open('/etc/passwd').read())",
        "print(open('/etc/shadow').read())",
        "print(os.listdir('/'))",
        "os.chroot('.')",
    ],
)
def test_nothing_is_read_but_python_and_the_system_libraries(victim, attack, monkeypatch):
    secret = secrets.token_hex(8)
    monkeypatch.setenv("SECRET_OF_THE_PARENT", secret)
    outcome = attempt(attack, path=str(victim))
    assert outcome.stdout == "refused\n", outcome
    assert secret not in outcome.stdout and "secret words" not in outcome.stdout


def test_the_environment_is_its_own(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "hush")
    outcome = run(
        "import os; print(sorted(os.environ)); print(os.environ['HOME'] == os.getcwd());"
        "print(os.listdir('.'))"
    )
    names, at_home, folder = outcome.stdout.splitlines()
    assert at_home == "True" and folder == "[]"
    assert set(eval(names)) <= {
        "HOME", "TMPDIR", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONUTF8", "PYTHONHASHSEED",
        "MALLOC_ARENA_MAX",
    }  # fmt: skip


def test_no_descriptor_of_the_parent_is_there():
    with Path(os.devnull).open() as file:
        os.set_inheritable(file.fileno(), True)
        outcome = run("""
            import os
            there = []
            for at in range(1024):
                try:
                    os.fstat(at)
                    there.append(at)
                except OSError:
                    pass
            print(len(there))
        """)
    assert outcome.stdout == "5\n"  # in, out, errors, the job and the verdict


# Network, processes, signals.


@pytest.mark.parametrize(
    "attack",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "import socket; socket.socket(socket.AF_INET6, socket.SOCK_STREAM)",
        "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "import socket; socket.socketpair()",
        "import socket; socket.getaddrinfo('example.org', 80)",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
        "import asyncio; asyncio.run(asyncio.sleep(0))",
        "os.fork()",
        "os.forkpty()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "import subprocess; subprocess.run(['/bin/true'])",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])",
        "import multiprocessing; multiprocessing.Process(target=print).start()",
        "os.setsid()",
        "os.kill(-1, 9)",
        "os.kill(os.getppid(), 9)",
        "os.kill(os.getppid(), 0)",
        "os.killpg(0, 9)",
        "import signal; signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)",
        "import resource; resource.prlimit(0, resource.RLIMIT_CPU, (99, 99))",
        "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
        "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
        "os.setuid(1)",
        "os.sched_setaffinity(os.getppid(), {0})",
    ],
)
def test_no_network_no_process_no_signal(attack):
    assert attempt(attack).stdout == "refused\n"


def test_os_system_runs_nothing(victim):
    outcome = attempt("if os.system(f'rm {path}'): raise OSError", path=str(victim))
    assert outcome.stdout == "refused\n"
    assert victim.exists()


def test_a_fork_bomb_makes_no_process():
    outcome = run("""
        import os
        made = 0
        for _ in range(1000):
            try:
                os.fork()
                made += 1
            except OSError:
                pass
        print(made)
    """)
    assert outcome.stdout == "0\n"


def test_a_daemon_does_not_outlive_the_program(tmp_path):
    outcome = run(f"""
        import os, time
        def become():
            try:
                return os.fork() == 0
            except OSError:
                return False
        if become():
            os.setsid()
            if become():
                time.sleep(1)
                open({str(tmp_path / "later")!r}, "w").write("still here")
            os._exit(0)
        print("no child")
    """)
    assert outcome.stdout == "no child\n"
    time.sleep(1.5)
    assert list(tmp_path.iterdir()) == []


_CALLS = {
    "x86_64": {"socket": 41, "fork": 57, "vfork": 58, "clone": 56, "execve": 59, "kill": 62,
               "tkill": 200, "tgkill": 234, "ptrace": 101, "process_vm_readv": 310, "unshare": 272,
               "setns": 308, "mount": 165, "chroot": 161, "bpf": 321, "io_uring_setup": 425,
               "keyctl": 250, "userfaultfd": 323, "perf_event_open": 298, "memfd_create": 319,
               "creat": 85, "open_by_handle_at": 304, "prctl": 157, "seccomp": 317, "reboot": 169,
               "init_module": 175, "mknod": 133, "shmget": 29, "openat2": 437, "clone3": 435,
               "pidfd_open": 434, "pidfd_getfd": 438, "execveat": 322, "rt_sigqueueinfo": 129,
               "pkey_alloc": 330, "not_made_yet": 700},
    "aarch64": {"socket": 198, "clone": 220, "execve": 221, "kill": 129, "tgkill": 131,
                "ptrace": 117, "process_vm_readv": 270, "unshare": 97, "setns": 268, "mount": 40,
                "bpf": 280, "io_uring_setup": 425, "keyctl": 219, "memfd_create": 279,
                "prctl": 167, "openat2": 437, "clone3": 435, "execveat": 281},
}  # fmt: skip


@pytest.mark.parametrize("name", _CALLS[platform.machine()])
def test_direct_system_calls_are_refused(name):
    # All arguments are 0: signal 0, no flags, as harmless as the call can be were it let through.
    outcome = run(f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        result = libc.syscall({_CALLS[platform.machine()][name]}, 0, 0, 0, 0, 0, 0)
        print(result, ctypes.get_errno())
    """)
    missing = name in ("clone3", "openat2")
    assert outcome.stdout == f"-1 {38 if missing else 1}\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="calls of x86 alone")
@pytest.mark.parametrize("number", [0x40000000 + 41, 0x40000000 + 57, 0x40000000 + 39])
def test_the_second_set_of_calls_of_x86_kills(number):
    outcome = run(f"import ctypes; ctypes.CDLL(None).syscall({number}, 0, 0, 0); print('BREACH')")
    assert (outcome.status, outcome.exit_code) == ("killed", -signal.SIGSYS)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="calls of x86 alone")
def test_the_32_bit_gate_kills():
    # Machine code: mov eax, 20 (getpid of 32 bits); int 0x80; ret.
    outcome = run("""
        import ctypes, mmap
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(bytes.fromhex("b814000000cd80c3"))
        at = ctypes.addressof(ctypes.c_char.from_buffer(page))
        print(ctypes.CFUNCTYPE(ctypes.c_long)(at)(), "BREACH")
    """)
    assert (outcome.status, outcome.exit_code, outcome.stdout) == ("killed", -signal.SIGSYS, "")


@pytest.mark.parametrize(
    "flags", ["0x11", "0x4111", "0x10000000 | 0x3d0f00", "0x40010f00", "0x100"]
)
def test_clone_makes_threads_only(flags):
    number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    outcome = run(f"""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.syscall({number}, {flags}, 0, 0, 0, 0), ctypes.get_errno())
    """)
    assert outcome.stdout == "-1 1\n"


# Limits.


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time; time.sleep(100)",
        "import signal\nfor s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n"
        "  except (OSError, ValueError): pass\nwhile True: pass",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(100)",
        "import os, time\nos.closerange(0, 64)\ntime.sleep(100)",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(100,)).start()",
        "import atexit, time\natexit.register(time.sleep, 99)\nraise SystemExit(0)",
        "9 ** 9 ** 9",
        "import re; re.match('(a+)+b', 'a' * 40)",
        "import os\nread, write = os.pipe()\nos.read(read, 1)",
        "def f():\n  try: f()\n  finally: f()\nf()",
        "import threading\ndef f():\n  while True: pass\n"
        "for _ in range(8): threading.Thread(target=f, daemon=True).start()\nf()",
    ],
)
def test_time_runs_out(program):
    started = time.monotonic()
    outcome = run_program(program, limits=QUICK)
    # A thread that ignores SIGXCPU meets the harder limit, or the parent, whichever is first.
    assert outcome.status in ("timed out", "killed")
    assert outcome.exit_code < 0
    assert time.monotonic() - started < QUICK.seconds + 2


@pytest.mark.parametrize(
    "program",
    [
        "text = 'x' * 10 ** 10",
        "parts = []\nwhile True: parts.append(bytearray(10 ** 7))",
        "import mmap; mmap.mmap(-1, 4 << 30)",
        "numbers = list(range(10 ** 9))",
    ],
)
def test_memory_runs_out(program):
    outcome = run_program(program, limits=Limits(memory=256 << 20))
    assert outcome.status == "failed"
    assert "MemoryError" in outcome.stderr or "Cannot allocate memory" in outcome.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_runs_over(stream):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = run(
        f"import sys\nwhile True: sys.{stream}.write('x' * 10 ** 6)", limits=Limits(output=10**6)
    )
    assert outcome.status == "killed"
    assert len(outcome.stdout) < 2 * 10**6 and len(outcome.stderr) <= 2000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("first", ["", "import os; os.closerange(0, 64)"])
def test_threads_run_over(first):
    outcome = run(f"""
        {first}
        import threading, time
        threading.stack_size(1 << 16)
        for _ in range(2000):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        time.sleep(60)
    """)
    assert outcome.status in ("killed", "failed")
    assert outcome.seconds < 5


def test_many_descriptors_run_over():
    outcome = attempt("files = [os.dup(0) for _ in range(1000)]")
    assert outcome.stdout == "refused\n"


@pytest.mark.parametrize(
    "program",
    [
        "def f(n): return f(n + 1)\nf(0)",
        "import sys; sys.setrecursionlimit(10 ** 9)\nx, y = [], []\n"
        "for _ in range(10 ** 6): x, y = [x], [y]\nx == y",
        "import ctypes; ctypes.string_at(0)",
        "eval('(' * 10 ** 5)",
        "import json; json.loads('[' * 10 ** 6)",
        "int('9' * 10 ** 6)",
        'import pickle; pickle.loads(b"cos\\nfork\\n(tR.")',
        "import os; os.abort()",
        "raise KeyboardInterrupt",
        "import numpy",
        "import torch",
        "import brodmann",
    ],
)
def test_a_program_that_breaks_itself_breaks_nothing_else(program):
    outcome = run_program(program, limits=Limits(seconds=5))
    assert outcome.status in ("failed", "killed")
    assert outcome.exit_code != 0


def test_numpy_is_not_there_and_the_error_says_so():
    assert "No module named 'numpy'" in run_program("import numpy").stderr


def test_the_program_dies_with_the_process_that_started_it(tmp_path):
    # A parent that is killed has no chance to kill the child: the kernel does it.
    told = tmp_path / "told"
    package = Path(sandbox.__file__).parent
    # The packages by hand: their own imports (torch) take long and are not needed.
    parent = f"""
import sys, types
folders = {{"brodmann": {str(package.parent)!r}, "brodmann.evaluate": {str(package)!r}}}
for name in folders:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folders[name]]
from brodmann.evaluate import sandbox
real = sandbox._Child.finish
def finish(child, *args):
    open({str(told)!r}, "w").write(str(child.process.pid))
    return real(child, *args)
sandbox._Child.finish = finish
sandbox.run_program("import time; time.sleep(50)", limits=sandbox.Limits(seconds=50))
"""
    process = subprocess.Popen([sys.executable, "-c", parent])
    try:
        _wait(lambda: told.exists() and told.read_text(), 60)
        child = Path("/proc") / told.read_text()
        time.sleep(1)  # until the program sleeps
        assert b"sandbox_child" in (child / "cmdline").read_bytes()
    finally:
        process.kill()
        process.wait()
    _wait(lambda: not child.exists() or b"Z" in (child / "stat").read_bytes().split()[2:3], 5)


def _wait(until, seconds):
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Benign programs.


@pytest.mark.parametrize(
    "program",
    [
        "import math, re, collections, typing, itertools, heapq, bisect, random, datetime\n"
        "import functools, string, operator, copy, json, decimal, fractions, statistics\n"
        "import hashlib, enum, dataclasses, abc, array, cmath, queue, time, textwrap, zlib, uuid\n"
        "assert random.Random(0).random() > 0 and datetime.datetime.now().year > 2000\n"
        "assert hashlib.md5(b'x').hexdigest() and uuid.uuid4()",
        "from typing import *\nfrom collections import *\nfrom math import *\nassert sqrt(4) == 2",
        "from __future__ import annotations\ndef f(x: Nothing): return x\nassert f(1) == 1",
        "import threading\ndone = []\nts = [threading.Thread(target=done.append, args=(i,))"
        " for i in range(16)]\n[t.start() for t in ts]\n[t.join() for t in ts]\n"
        "assert len(done) == 16",
        "import sys, threading\nsys.setrecursionlimit(10 ** 6)\nthreading.stack_size(1 << 27)\n"
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
        "t = threading.Thread(target=lambda: print(f(20000)))\nt.start(); t.join()",
        "import concurrent.futures as c\nwith c.ThreadPoolExecutor(4) as pool:\n"
        "    assert sum(pool.map(int, '123')) == 6",
        "if __name__ == '__main__':\n    x = 1\nassert x == 1",
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\nassert A(1) == A(1)",
        "import pickle\nclass A: pass\nassert type(pickle.loads(pickle.dumps(A()))) is A",
        "import re\nassert re.sub('a', 'b', 'ä' + 'a') == 'äb'\nprint('中文')",
        "import zoneinfo, time\ntime.sleep(0.01)\nimport inspect, ctypes, os\nos.cpu_count()",
        "import sys, io\nsys.stdout = io.StringIO()\nprint('kept')",
    ],
)
def test_benign_programs_pass(program):
    outcome = run_program(program)
    assert outcome.status == "passed", outcome.stderr


def test_a_thread_left_running_is_waited_for():
    outcome = run("""
        import threading, time
        def later():
            time.sleep(0.2)
            print("done")
        threading.Thread(target=later).start()
    """)
    assert (outcome.status, outcome.stdout) == ("passed", "done\n")


def test_a_program_takes_little_time():
    fastest = min(run_program("x = 1").seconds for _ in range(5))
    assert fastest < 0.3


def test_the_folder_is_gone_afterwards():
    folder = Path(run("import os; print(os.getcwd())").stdout.strip())
    assert folder.name == "home" and not folder.parent.exists()


# What cannot be locked down does not run.


def test_other_systems_are_refused(monkeypatch):
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "riscv64")
    with pytest.raises(RunError, match=r"Expected Linux on x86_64 or aarch64 .* riscv64"):
        run_program("print(1)")
    monkeypatch.undo()
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    with pytest.raises(RunError, match="so none is run"):
        run_program("print(1)")


@pytest.mark.parametrize(
    ("find", "replace", "why"),
    [
        ("if version < 1:", "if True:", "Landlock is missing"),
        ("_SECCOMP, _NO_NEW_PRIVS = 1, 22, 38", "_SECCOMP, _NO_NEW_PRIVS = 1, 9999, 38", "seccomp"),
        ("_NO_NEW_PRIVS = 1, 22, 38", "_NO_NEW_PRIVS = 1, 22, 9999", "no_new_privs"),
        ("445, 446  # Landlock", "445, 9999  # Landlock", "Landlock cannot be set up"),
    ],
)
def test_a_child_that_is_not_locked_down_runs_nothing(tmp_path, monkeypatch, find, replace, why):
    text = sandbox._CHILD.read_text()
    assert find in text
    weaker = tmp_path / "sandbox_child.py"
    weaker.write_text(text.replace(find, replace))
    monkeypatch.setattr(sandbox, "_CHILD", weaker)
    marker = tmp_path / "ran"
    with pytest.raises(RunError, match=why) as raised:
        run_program(f"open({str(marker)!r}, 'w')")
    assert "\n" not in str(raised.value) and not marker.exists()


def test_a_python_that_does_not_start_is_reported(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "executable", "/nowhere/python")
    with pytest.raises(RunError, match="Expected to start /nowhere/python"):
        run_program("print(1)")


@pytest.mark.parametrize("machine", machines())
def test_filters_are_read_by_the_kernel_in_whole_instructions(machine):
    program = seccomp_filter(machine)
    instructions = list(struct.iter_unpack("=HBBI", program))
    assert len(instructions) < 4096
    for place, (code, if_true, if_false, _) in enumerate(instructions):
        if code & 0x07 == 0x05:  # jumps land inside
            assert place + 1 + max(if_true, if_false) < len(instructions)
    assert instructions[-1] == (0x06, 0, 0, 0x00050001)  # whatever is not listed is denied


def test_on_a_kernel_of_the_other_machine_nothing_runs(monkeypatch):
    # The filter of the other machine denies every call of this one.
    other = next(name for name in machines() if name != platform.machine())
    monkeypatch.setattr(sandbox.platform, "machine", lambda: other)
    with pytest.raises(RunError, match="none is run"):
        run_program("print(1)")
