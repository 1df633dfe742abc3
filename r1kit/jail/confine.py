"""The walls, straight from the kernel: namespaces, mounts, capabilities, system calls, resource limits, Landlock.

Every function acts on the calling process and raises OSError where the kernel refuses.
"""

import ctypes
import os
import platform
import resource
import signal
import socket
import struct
import threading
from collections.abc import Iterable
from functools import cache

_libc = ctypes.PyDLL(None, use_errno=True)  # PyDLL: the interpreter's lock stays held across a raw clone

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_pthread_self = _libc.pthread_self
_pthread_self.restype = ctypes.c_ulong
_CLONE = {"x86_64": 56, "aarch64": 220}
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# calls that no solution needs: memory that no limit counts, other processes, namespaces, kernel interfaces
_DENIED = {
    "x86_64": {
        "memory": (29, 30, 31, 67, 64, 66, 68, 69, 70, 71, 240, 319, 323, 447),  # shm*, sem*, msg*, mq_open, memfd_*
        "processes": (101, 310, 311, 312, 434, 438, 440),  # ptrace, process_vm_*, kcmp, pidfd_*, process_madvise
        "namespaces": (155, 161, 165, 166, 272, 308, 428, 429, 430, 431, 432, 433, 442),  # mount*, chroot, setns, …
        "kernel": (175, 246, 248, 249, 250, 298, 313, 320, 321, 425, 426, 427, 135, 303, 304),  # keys, bpf, io_uring, …
    },
    "aarch64": {
        "memory": (194, 195, 196, 197, 190, 191, 192, 193, 186, 187, 188, 189, 180, 279, 282, 447),
        "processes": (117, 270, 271, 272, 434, 438, 440),
        "namespaces": (40, 39, 41, 51, 97, 268, 428, 429, 430, 431, 432, 433, 442),
        "kernel": (105, 104, 217, 218, 219, 241, 273, 280, 294, 425, 426, 427, 92, 264, 265),
    },
}
_CLONE3 = 435
_PRCTL = {"x86_64": 157, "aarch64": 167}
_SOCKET = {"x86_64": 41, "aarch64": 198}


def _check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def clone(namespaces: int) -> int:
    """Fork into new namespaces; return 0 in the child, as os.fork does. Only for a process of one thread.

    glibc's own fork knows no namespaces; all that it would do beyond the system call is to note the child's thread id.
    """
    note = thread_id_address()
    last = (0, note) if platform.machine() == "aarch64" else (note, 0)  # there the argument for TLS comes before it
    flags = namespaces | signal.SIGCHLD | (0x1000000 if note else 0)  # CLONE_CHILD_SETTID
    arguments = [ctypes.c_long(argument) for argument in (flags, 0, 0, *last)]
    return _check(_libc.syscall(ctypes.c_long(_CLONE[platform.machine()]), *arguments), "clone")


@cache
def thread_id_address() -> int:
    """Return where glibc keeps the id of this thread, 0 where that cannot be told."""
    thread = _pthread_self()
    words = (ctypes.c_int * 512).from_address(thread)  # struct pthread is longer
    places = [place for place, word in enumerate(words) if word == threading.get_native_id()]
    return thread + 4 * places[0] if len(places) == 1 else 0


def enter_user_namespace(more: int = 0) -> None:
    """Become the owner of a user namespace (and of `more` namespaces) in which this user is itself."""
    uid, gid = os.getuid(), os.getgid()
    _check(_libc.prctl(4, 1, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")  # lost with a change of uid; the maps need it
    _check(_libc.unshare(NEWUSER | NEWNS | more), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    _check(_libc.mount(None, b"/", None, 0x4000 | 0x40000, None), "mount(private)")  # MS_REC | MS_PRIVATE


def mount_tmpfs(path: str, options: str, read_only: bool = False) -> None:
    """Mount an empty file system in memory on a folder; no set-uid, no devices."""
    flags = 2 | 4 | (1 if read_only else 0)  # MS_NOSUID | MS_NODEV | MS_RDONLY
    _check(_libc.mount(b"tmpfs", path.encode(), b"tmpfs", flags, options.encode()), f"mount({path})")


def die_with_parent() -> None:
    """End this process when its parent ends."""
    _check(_libc.prctl(1, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends."""
    _check(_libc.prctl(36, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def drop_privileges() -> None:
    """Give up every capability, and the right to gain any by running a program."""
    _check(_libc.prctl(38, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    _check(_libc.prctl(47, 4, 0, 0, 0), "prctl(PR_CAP_AMBIENT_CLEAR_ALL)")
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _check(_libc.capset(header, bytes(24)), "capset")


def deny_calls() -> None:
    """Make the system calls of `_DENIED` fail with EPERM, and some by their first argument; needs no_new_privs.

    These are new user namespaces, to outlive the parent, and sockets but of Unix and the internet: those of virtual
    machines reach beyond a network namespace. A call by another architecture's numbers ends the process.
    """
    code, length = call_filter()
    handle = struct.pack("HP", length, ctypes.addressof(code))
    _check(_libc.prctl(22, 2, handle, 0, 0), "prctl(PR_SET_SECCOMP)")


@cache
def call_filter() -> tuple[ctypes.Array[ctypes.c_char], int]:
    """Return the program, in the kernel's BPF, that denies the calls, and its number of steps."""
    machine = platform.machine()
    denied = sorted({number for group in _DENIED[machine].values() for number in group})
    load, jump, over, reply = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JSET|K, BPF_RET|K
    kill, fail, no_call, allow = 0x80000000, 0x00050001, 0x00050026, 0x7FFF0000  # EPERM = 1, ENOSYS = 38
    program = [(load, 0, 0, 4), (jump, 1, 0, _AUDIT[machine]), (reply, 0, 0, kill), (load, 0, 0, 0)]
    if machine == "x86_64":
        program += [(0x35, 0, 1, 0x40000000), (reply, 0, 0, kill)]  # BPF_JGE: the x32 numbers
    for number in denied:
        program += [(jump, 0, 1, number), (reply, 0, 0, fail)]
    program += [(jump, 0, 1, _CLONE3), (reply, 0, 0, no_call)]  # its flags lie in memory: glibc falls back to clone
    argument, failed, done = (load, 0, 0, 16), (reply, 0, 0, fail), (reply, 0, 0, allow)
    program += [(jump, 0, 4, _CLONE[machine]), argument, (over, 0, 1, NEWUSER), failed, done]
    program += [(jump, 0, 4, _PRCTL[machine]), argument, (jump, 0, 1, 1), failed, done]  # PR_SET_PDEATHSIG
    domains = [(jump, 3, 0, socket.AF_UNIX), (jump, 2, 0, socket.AF_INET), (jump, 1, 0, socket.AF_INET6)]
    program += [(jump, 0, 6, _SOCKET[machine]), argument, *domains, failed, done, done]
    return ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program)), len(program)


def limit_resources(seconds: float, memory: int, processes: int | None, output: int, stack: int | None = None) -> None:
    """Set this process's limits: CPU seconds, bytes of address space, processes of this user, bytes of one file."""
    limits = {
        resource.RLIMIT_CPU: int(seconds) + 1,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: output,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    limits |= {} if processes is None else {resource.RLIMIT_NPROC: processes}
    limits |= {} if stack is None else {resource.RLIMIT_STACK: stack}
    for name, value in limits.items():
        hard = resource.getrlimit(name)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (value, value))


def restrict_files(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Allow no file but those below the given folders (Landlock, kernel 5.13 and later); needs no_new_privs."""
    version = _check(_libc.syscall(444, None, 0, 1), "Landlock")
    every = (1 << 13) - 1 | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    handled = struct.pack("QQQ", every, 0, 3 if version >= 6 else 0)  # files, no ports, no abstract sockets or signals
    size = 24 if version >= 6 else 8
    ruleset = _check(_libc.syscall(444, handled, size, 0), "landlock_create_ruleset")
    read = 1 | 4 | 8  # execute, read a file, read a folder
    for paths, rights in ((readable, read), (writable, every)):
        for path in paths:
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = rights if os.path.isdir(path) else rights & 5
            _check(_libc.syscall(445, ruleset, 1, struct.pack("=Qi", allowed, folder), 0), f"landlock_add_rule({path})")
            os.close(folder)
    _check(_libc.syscall(446, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)
