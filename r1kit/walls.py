"""What a jail sees of the machine: the files of the interpreter and no others, as a list and as bubblewrap's flags."""

import os
import re
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from shutil import which

from r1kit.errors import UserError

JAIL = Path(__file__).parent / "jail"
TOOLCHAIN = ("/usr", "/bin", "/lib", "/lib64")  # what a compiler needs
DEVICES = ("null", "zero", "full", "random", "urandom")


@cache
def readable_paths(toolchain: bool) -> list[str]:
    """Return the files and folders that a jail sees: the interpreter, its standard library, what they link to.

    Raises:
        UserError: the machine has no ldd, which tells what they link to.
    """
    if which("ldd") is None:
        raise UserError("sandbox", "ldd is not installed")
    interpreter, library = os.path.realpath(sys.executable), sysconfig.get_path("stdlib")
    binary = sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix})
    modules = [str(path) for path in Path(binary, "lib-dynload").glob("*.so")]
    linked = subprocess.run(["ldd", interpreter, *modules], capture_output=True, text=True, check=False).stdout
    paths = re.findall(r"(?:=> |^\s+)(/\S+) \(0x", linked, re.MULTILINE)
    paths += [interpreter, library, binary, "/etc/ld.so.cache"]
    chosen = [path for path in TOOLCHAIN if os.path.exists(path)] if toolchain else []
    for path in sorted(set(paths)):
        if os.path.exists(path) and not any(path == other or path.startswith(other + "/") for other in chosen):
            chosen.append(path)
    return chosen


def bubblewrap_command(toolchain: bool) -> list[str]:
    """Return the command line of bubblewrap, up to the program that runs behind its walls.

    Raises:
        UserError: it is not installed.
    """
    bwrap = which("bwrap")
    if bwrap is None:
        raise UserError("sandbox bubblewrap", "bwrap is not installed")
    readable = readable_paths(toolchain)
    command = [bwrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--as-pid-1"]  # the jail is the first process of its namespace: when it ends, nothing there is left
    if os.getuid() == 0:  # the jail drops the uid itself: bubblewrap would map it to 0, which no limit binds
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    mounts = [(os.path.realpath(path), path) for path in readable] + [(str(JAIL), "/jail/jail")]
    folders = {str(parent) for _, target in mounts for parent in Path(target).parents} | {"/tmp", "/dev"}
    for folder in sorted(folders - {"/"}):
        if not any(folder == target or folder.startswith(target + "/") for _, target in mounts):
            command += ["--perms", "0755", "--dir", folder]  # 0700 if left to bubblewrap
    for source, target in mounts:
        command += ["--ro-bind", source, target]
    packages = os.path.join(sysconfig.get_path("stdlib"), "site-packages")
    if os.path.isdir(packages) and not any(packages.startswith(path + "/") for path in TOOLCHAIN if path in readable):
        command += ["--tmpfs", packages, "--remount-ro", packages]
    for device in DEVICES:
        command += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    return [*command, "--proc", "/proc", "--remount-ro", "/", "--chdir", "/"]
