"""This host: the boot that its monotonic clock belongs to, and the file system of a folder.

Times are those of `time.monotonic`, the clock of the event loop, so a lease expires here when its holder's deadline
passes, also after the host was suspended. All processes of a host share this clock, and setting the time of day does
not change it.
"""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "fuse.",
    "afs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "beegfs",
    "gpfs",
    "ocfs2",
    "gfs2",
    "virtiofs",
)


@cache
def boot_id() -> str:
    """Return what identifies this boot of the system; empty if the system does not tell."""
    try:
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            told = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - a fixed command
            return told.stdout.strip()
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def network_file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """Return the type of the network file system that holds the folder; None for a local or an unknown one.

    Args:
        folder: The folder.
        mounts: The system's table of mounts; only Linux has it (proc_pid_mounts(5)).
    """
    try:
        table = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    place, best, kind = Path(os.path.realpath(folder)), -1, ""
    for line in table.splitlines():
        _, point, found, *_ = line.split(" ")
        path = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point))
        if place.is_relative_to(path) and len(path.parts) >= best:  # a later mount hides an earlier one
            best, kind = len(path.parts), found
    return kind if kind.startswith(_NETWORK) else None
