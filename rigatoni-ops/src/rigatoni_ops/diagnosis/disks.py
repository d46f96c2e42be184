"""The folders of a pipeline: the space of their disks, and file systems that cannot keep the promises."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs
from rigatoni_core.api.contracts import Finding
from rigatoni_core.api.words import size

WRITTEN = ("destination", "state", "dead_letters")
"""The components that write below their paths."""

LOW, LOW_SHARE = 2**30, 0.05
"""Free bytes, and the free share of a disk, below which doctor warns."""

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "fuse.sshfs", "fuse.s3fs"}
)
"""File systems of other hosts, by their names in Linux: locks and fsync depend on the server and the mount options."""

VOLATILE = frozenset({"tmpfs", "ramfs"})


@attrs.frozen
class Mount:
    """A mounted file system: its folder and its kind, such as `ext4`."""

    folder: Path
    kind: str


async def check_disks(paths: Mapping[str, Path]) -> Sequence[Finding]:
    """Check the disk of each folder that a component writes into.

    Args:
        paths: The paths of the options, by their TOML keys, such as `pipeline.state.path`.
    """
    mounts = _mounts()
    return [
        finding
        for key, path in paths.items()
        if any(part in WRITTEN for part in key.split("."))
        for finding in (*_space(key, path), *_kind(key, path, mounts))
    ]


def _space(key: str, path: Path) -> Iterator[Finding]:
    folder = _existing(path)
    disk = os.statvfs(folder)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    figures = {"free_bytes": float(free), "free_files": float(disk.f_favail)}
    seen = f"{key}: {size(free)} of {size(total)} are free at {path}"
    if not os.access(folder, os.W_OK):
        yield Finding("error", f"{key}: this user cannot write to {folder}", f"Run: chown to this user, {folder}.")
    if disk.f_files and not disk.f_favail:
        yield Finding("error", f"{key}: the disk of {path} takes no more files (inodes)", "Remove files.", figures)
    elif free < LOW or free < LOW_SHARE * total:
        remedy = "Free space, or move the folder to a larger disk: a full disk stops the pipeline."
        yield Finding("warning", seen, remedy, figures)
    else:
        yield Finding("ok", seen, figures=figures)


def _kind(key: str, path: Path, mounts: Sequence[Mount]) -> Iterator[Finding]:
    if not mounts:
        yield Finding("not checked", f"{key}: this system does not list its file systems", "Use a local disk.")
        return
    folder = _existing(path)
    kind = max((each for each in mounts if folder.is_relative_to(each.folder)), key=_depth).kind
    if kind in NETWORK:
        remedy = "Use a local disk, or a state store and a destination that are made for networks (redis, s3)."
        yield Finding("warning", f"{key}: {path} is on a network file system ({kind})", remedy)
    elif kind in VOLATILE:
        seen = f"{key}: {path} is in memory ({kind}): a restart of the host empties it"
        yield Finding("warning", seen, "Use a disk.")


def _depth(mount: Mount) -> int:
    return len(mount.folder.parts)


def _existing(path: Path) -> Path:
    """Return the path, or its nearest parent that exists."""
    return next(each for each in (path, *path.parents) if each.exists()).resolve()


def _mounts(table: Path = Path("/proc/self/mounts")) -> list[Mount]:
    """Return the mounted file systems of Linux; none on other systems."""
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    columns = (line.split(" ") for line in lines)
    return [Mount(Path(found[1].encode().decode("unicode_escape")), found[2]) for found in columns if len(found) > 2]
