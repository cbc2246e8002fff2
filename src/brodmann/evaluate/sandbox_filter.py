"""The seccomp filter of the locked-down child: the system calls that a program may make.

It is a list of what is allowed, so that what nobody thought of is denied. Nothing in it makes a
process, runs another program, opens a socket, opens a file for writing or changes one by name,
or reaches another process. Three rules look at arguments: files are opened for reading only,
``clone`` makes threads only, and of ``fcntl`` and ``ioctl`` only what concerns the caller's own
descriptors is left (others could signal a process or set a file's flags).
"""

import struct
from collections.abc import Sequence

# Name: (number on x86_64, number on aarch64); None where the machine has no such call.
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # Descriptors that are open, and files as they are.
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66),
    "pread64": (17, 67), "preadv": (295, 69), "lseek": (8, 62), "close": (3, 57),
    "close_range": (436, 436), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
    "pipe": (22, None), "pipe2": (293, 59), "fstat": (5, 80), "newfstatat": (262, 79),
    "stat": (4, None), "lstat": (6, None), "statx": (332, 291), "access": (21, None),
    "faccessat": (269, 48), "faccessat2": (439, 439), "getdents64": (217, 61),
    "readlink": (89, None), "readlinkat": (267, 78), "getcwd": (79, 17),
    "select": (23, None), "pselect6": (270, 72), "poll": (7, None), "ppoll": (271, 73),
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_pwait": (281, 22),
    "epoll_wait": (232, None),
    # Memory and threads.
    "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226),
    "madvise": (28, 233), "brk": (12, 214), "futex": (202, 98), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "set_robust_list": (273, 99), "rseq": (334, 293),
    # Signals that a process handles; none is sent but by its own timers.
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133), "rt_sigpending": (127, 136), "sigaltstack": (131, 132),
    "pause": (34, None), "alarm": (37, None), "setitimer": (38, 103), "getitimer": (36, 102),
    "restart_syscall": (219, 128),
    # Clocks, and facts about the machine and the process itself.
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153),
    "getrusage": (98, 165), "getrlimit": (97, 163), "sysinfo": (99, 179), "uname": (63, 160),
    "getrandom": (318, 278), "getcpu": (309, 168), "getpid": (39, 172), "gettid": (186, 178),
    "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
_CLONE, _IOCTL, _FCNTL, _PRLIMIT = (56, 220), (16, 29), (72, 25), (302, 261)
_OPEN, _OPENAT = (2, None), (257, 56)
_NEWER = ((435, 435), (437, 437))  # clone3 and openat2 hide their flags behind a pointer

# What `struct seccomp_data` holds where.
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000  # the bit of x86_64's second set of calls

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_DENY, _MISSING = 0x00050000 | 1, 0x00050000 | 38  # EPERM; ENOSYS sends libc to the older call

_WRITES = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000000  # WRONLY, RDWR, CREAT, TRUNC, TMPFILE
_A_THREAD = 0x3D0F00  # the flags with which libc starts a thread, and no other
_DETACHED = 0x400000  # musl sets this too; the kernel ignores it
_OWN_FCNTL = (0, 1, 2, 3, 4, 1030)  # DUPFD, GETFD, SETFD, GETFL, SETFL, DUPFD_CLOEXEC
_OWN_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # of ttys: ask; flags of descriptors

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def machines() -> tuple[str, ...]:
    """Return the machines that filters exist for, as :func:`platform.machine` names them."""
    return tuple(_MACHINES)


def seccomp_filter(machine: str) -> bytes:
    """Return the filter for a machine, as the kernel reads it.

    Calls of another architecture (32 bits, x32), whose numbers mean other things, kill the process.
    """
    column = list(_MACHINES).index(machine)
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _MACHINES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    rules = [(numbers, _always(_ALLOW)) for numbers in _ALLOWED.values()]
    rules += [(numbers, _always(_MISSING)) for numbers in _NEWER]
    rules += [
        (_OPEN, _without_bits(1, _WRITES)),
        (_OPENAT, _without_bits(2, _WRITES)),
        (_CLONE, _one_of(0, (_A_THREAD,), ignoring=_DETACHED)),
        (_FCNTL, _one_of(1, _OWN_FCNTL)),
        (_IOCTL, _one_of(1, _OWN_IOCTL)),
        (_PRLIMIT, _asks_only()),
    ]
    for numbers, block in rules:
        if (number := numbers[column]) is not None:
            program += [(_EQUAL, 0, len(block), number), *block]
    program += _always(_DENY)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _always(action: int) -> list[Instruction]:
    return [(_RETURN, 0, 0, action)]


def _argument(index: int) -> Instruction:
    """Load the lower half of an argument: all that the kernel reads of flags and commands."""
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index)


def _without_bits(index: int, bits: int) -> list[Instruction]:
    return [_argument(index), (_ANY_BIT, 0, 1, bits), *_always(_DENY), *_always(_ALLOW)]


def _one_of(index: int, values: Sequence[int], ignoring: int = 0) -> list[Instruction]:
    block = [_argument(index), (_AND, 0, 0, 0xFFFFFFFF ^ ignoring)]
    for value in values:
        block += [(_EQUAL, 0, 1, value), *_always(_ALLOW)]
    return block + _always(_DENY)


def _asks_only() -> list[Instruction]:
    """``prlimit64`` of the caller itself (process 0) without new limits (a null pointer)."""
    new_limits = _ARGUMENTS_AT + 8 * 2
    block: list[Instruction] = []
    for place in (_ARGUMENTS_AT, new_limits, new_limits + 4):
        block += [(_LOAD, 0, 0, place), (_EQUAL, 1, 0, 0), *_always(_DENY)]
    return block + _always(_ALLOW)
