"""A seccomp filter that refuses the calls by which a process reaches out of its sandbox.

EPERM for tracing, other processes' memory, mounts, namespaces, keys, modules and clocks; ENOSYS for
io_uring and clone3, so that callers fall back to what can be checked; only Unix sockets. In the Landlock
tier, which has no namespaces, no connection of those either, nor kinds that send without one (a filter
cannot see which path they lead to), and no shared memory, semaphores or queues that outlive a process: one
run would leave there for the next what it saw while it was scored.

Limits and priorities are a process's own to change, not those of others of its user.

Nor may one run tell another what it sees by the files that both may read: whoever watches them is refused
(inotify, leases, the page cache's own answers), and locks of a scored process are granted and do not exist.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from trainer.sandbox.kernel import SYS_SECCOMP, machine, syscall

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Name -> number on (x86_64, aarch64); -1 where there is no such call.
REFUSED = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438), "kcmp": (312, 272), "userfaultfd": (323, 282), "bpf": (321, 280),
    "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "swapon": (167, 224),
    "swapoff": (168, 225), "unshare": (272, 97), "setns": (308, 268), "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162), "acct": (163, 89),
    "quotactl": (179, 60), "syslog": (103, 116), "iopl": (172, -1), "ioperm": (173, -1),
    "vhangup": (153, 58), "fanotify_init": (300, 262), "lookup_dcookie": (212, 18), "mknod": (133, -1),
    "mknodat": (259, 33), "inotify_init": (253, -1), "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
}  # fmt: skip
ABSENT = {"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
          "clone3": (435, 435), "cachestat": (451, 451), "preadv2": (327, 286)}  # fmt: skip
FLOCK, FCNTL = (73, 32), (72, 25)
# Allowed where these arguments are 0, which means the caller: other processes of its user are not its own.
PRLIMIT, SETPRIORITY = (302, 261), (141, 140)
WATCHES = (1024, 1026)  # F_SETLEASE, F_NOTIFY
LOCKS = (6, 7, 37, 38)  # F_SETLK and F_SETLKW, of processes and of descriptions
OUTLIVING = {
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193),
    "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
}  # fmt: skip
SOCKET, SOCKETPAIR, CONNECT, CLONE = (41, 198), (53, 199), (42, 203), (56, 220)
CLONE_NEW_ANY = 0x7E020000  # every CLONE_NEW… flag but the time namespace's, whose bit is an exit signal
AF_UNIX = 1
LOOPBACK_FAMILIES = (AF_UNIX, 2, 10, 16)  # IPv4, IPv6, and netlink by which interfaces are listed; not vsock,
# which knows no namespaces
CONNECTED_KINDS = (1, 5)  # SOCK_STREAM and SOCK_SEQPACKET; SOCK_RAW is a datagram socket to the kernel
SOCKET_KIND = 0xF  # what is above these bits are flags

_LOAD, _AND, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_GRANTED = _ERRNO  # the error 0: the call has done nothing and says that all is well
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
_X32_BIT = 0x40000000
SECCOMP_SET_MODE_FILTER = 1


def build_filter(
    name: str | None = None,
    *,
    allow_connect: bool = False,
    allow_network: bool = False,
    allow_locks: bool = True,
) -> bytes:
    """The program as the kernel reads it: struct sock_filter after struct sock_filter.

    Raises OSError (ENOSYS) on an architecture that is not in the tables.
    """
    name = name or machine()
    if name not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no seccomp table for {name}")
    column = list(ARCHITECTURES).index(name)
    program = [(_LOAD, 0, 0, _ARCHITECTURE), (_JUMP_EQUAL, 1, 0, ARCHITECTURES[name]), (_RETURN, 0, 0, _KILL)]
    program.append((_LOAD, 0, 0, _NUMBER))
    if name == "x86_64":
        program += [(_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    refused = dict(REFUSED)
    kinds: tuple[int, ...] = ()
    if not allow_connect and not allow_network:
        refused |= {"connect": CONNECT, **OUTLIVING}
        kinds = CONNECTED_KINDS
    for table, code in ((refused, errno.EPERM), (ABSENT, errno.ENOSYS)):
        for numbers in table.values():
            if numbers[column] >= 0:
                program += [(_JUMP_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _ERRNO | code)]
    for numbers, arguments in (
        (PRLIMIT, (_FIRST_ARGUMENT,)),
        (SETPRIORITY, (_FIRST_ARGUMENT, _SECOND_ARGUMENT)),
    ):
        judged = _allow_zeros(arguments)
        program += [(_JUMP_EQUAL, 0, len(judged), numbers[column]), *judged]
    judged = _judge_fcntl(allow_locks)
    program += [(_JUMP_EQUAL, 0, len(judged), FCNTL[column]), *judged]
    if not allow_locks:
        program += [(_JUMP_EQUAL, 0, 1, FLOCK[column]), (_RETURN, 0, 0, _GRANTED)]
    families = LOOPBACK_FAMILIES if allow_network else (AF_UNIX,)
    judged = _judge_socket(families, kinds)
    for numbers in (SOCKET, SOCKETPAIR):
        program += [(_JUMP_EQUAL, 0, len(judged), numbers[column]), *judged]
    program += [
        (_JUMP_EQUAL, 0, 3, CLONE[column]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_ANY_BIT, 0, 1, CLONE_NEW_ANY),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _allow_zeros(arguments: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    program = []
    for argument in arguments:
        program += [(_LOAD, 0, 0, argument), (_JUMP_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _judge_fcntl(allow_locks: bool) -> list[tuple[int, int, int, int]]:
    """Refuses watches; locks are said to be held or really taken."""
    program = [(_LOAD, 0, 0, _SECOND_ARGUMENT)]
    for values, answer in ((WATCHES, _ERRNO | errno.EPERM), (() if allow_locks else LOCKS, _GRANTED)):
        for value in values:
            program += [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, answer)]
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _judge_socket(families: tuple[int, ...], kinds: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Allows a socket of these families and kinds, every kind where none is named; refuses any other."""
    program = [(_LOAD, 0, 0, _FIRST_ARGUMENT), *_pass_over_refusal(families)]
    if kinds:
        program += [(_LOAD, 0, 0, _SECOND_ARGUMENT), (_AND, 0, 0, SOCKET_KIND), *_pass_over_refusal(kinds)]
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _pass_over_refusal(values: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    tests = [(_JUMP_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [*tests, (_RETURN, 0, 0, _ERRNO | errno.EACCES)]


def install_filter(program: bytes) -> None:
    """Puts the filter on this process and all that descend from it. Needs no_new_privs. Raises OSError."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(
        struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer)), 16
    )
    pointer = ctypes.cast(header, ctypes.c_void_p)
    syscall(SYS_SECCOMP[machine()], SECCOMP_SET_MODE_FILTER, 0, pointer)
