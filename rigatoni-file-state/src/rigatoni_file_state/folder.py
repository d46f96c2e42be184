"""The state folder and its files. All calls block; one thread at a time makes them."""

import os
from contextlib import suppress
from pathlib import Path

import attrs
from rigatoni_core.api.contracts import Lease
from rigatoni_core.api.errors import CorruptCheckpointError, LeaseLostError
from rigatoni_core.api.events import Stream
from rigatoni_core.api.records import StateRecord, listed_stream, load_record

from rigatoni_file_state import files, instance, locks
from rigatoni_file_state.errors import FileStateError, StateFolderGoneError, StateFolderInUseError, translated
from rigatoni_file_state.expiry import Expiry
from rigatoni_file_state.host import network_file_system
from rigatoni_file_state.instance import Instance
from rigatoni_file_state.leases import HeldLease, LeaseFiles, LeaseRecord, next_token, read_token


class StateFolder:
    """A folder with the records and leases of streams, which several instances may enter.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._instance: Instance | None = None
        self._lock: int | None = None

    # --- entering

    def enter(self) -> None:
        """Create the folder and register an instance. Keeps out versions that use a folder alone."""
        with translated("open the folder of checkpoints"):
            files.make_folder(self._path)
            lock = locks.lock(self._lock_file, shared=True)  # older versions lock it exclusively
            if lock is None:
                raise StateFolderInUseError(f"{self._path} is in use by {self._older_owner()}")
            try:
                self._owner_file.unlink(missing_ok=True)  # of an older version that has crashed
                self._instance = Instance.enter(self._path)
            except BaseException:
                os.close(lock)
                raise
            self._lock = lock

    def leave(self) -> None:
        """Unregister the instance. Its leases end."""
        entered, self._instance = self._instance, None
        lock, self._lock = self._lock, None
        if entered is not None:
            entered.leave()
        if lock is not None:
            os.close(lock)

    # --- checkpoints

    def record(self, stream: Stream) -> Path:
        """Return the path of the stream's record."""
        return self._path / f"{stream.key}.json"

    def load(self, stream: Stream) -> StateRecord | None:
        """Return the stream's record, also if the folder is not entered."""
        path = self.record(stream)
        with translated(f"load the checkpoint of {stream}"):
            content = files.read(path)
        if content is not None:
            return load_record(stream, content, str(path))
        if self._instance:
            self._require(self._instance)  # without the folder the stream must not start fresh
        return None

    def streams(self, pipeline: str | None) -> list[Stream]:
        """Return the streams that have a checkpoint, of one pipeline or of all."""
        with translated("list the checkpoints"):
            if self._instance:
                self._require(self._instance)
            records = [(path, files.read(path)) for path in self._path.glob("*/*.json") if path.name[0] != "."]
        listed = [
            listed_stream(f"{path.parent.name}/{path.name.removesuffix('.json')}", content, str(path))
            for path, content in records
            if content is not None  # removed since the listing
        ]
        return sorted(stream for stream in listed if stream and pipeline in (None, stream.pipeline))

    def replace(self, stream: Stream, what: str, content: bytes, fencing_token: int) -> None:
        """Replace the stream's record if `fencing_token` is its fence; durable on return."""
        with translated(what):
            entered, path, leases = self._entered(what), self.record(stream), LeaseFiles(self._path / stream.key)
            files.make_folder(path.parent)
            with entered.staged(content) as staged, leases.locked():
                known = self._known_token(stream, leases)
                if known not in (None, fencing_token):
                    raise LeaseLostError(
                        f"{stream} has another owner: its fencing token is {known}, ours is {fencing_token}"
                    )
                self._keep_corrupt(stream)
                staged.replace(path)
            files.sync_folder(path.parent)

    # --- leases

    def acquire(self, stream: Stream, owner: str, ttl: float) -> int | None:
        """Return the fencing token of a new grant, which is durable; None while another owner holds the lease."""
        what = f"acquire the lease of {stream}"
        with translated(what):
            entered, leases = self._entered(what), LeaseFiles(self._path / stream.key)
            files.make_folder(leases.fence.parent)
            while not self._is_held(leases.peek().lease, by_others_than=owner):
                token = next_token(self._known_token(stream, leases))
                with entered.staged(b"%d\n" % token) as staged, leases.locked() as file:
                    if self._is_held(file.record.lease, by_others_than=owner):
                        return None
                    if (self._known_token(stream, leases) or 0) >= token:
                        continue  # another instance has been granted the lease meanwhile, and released it
                    staged.replace(leases.fence)
                    file.write(LeaseRecord(HeldLease(owner, token, entered.name, Expiry.after(ttl))))
                files.sync_folder(leases.fence.parent)
                return token
            return None

    def renew(self, lease: Lease, ttl: float) -> None:
        """Extend a lease that is still held. Restores a fence that was deleted."""
        what = f"renew the lease of {lease.stream}"
        with translated(what):
            entered, leases = self._entered(what), LeaseFiles(self._path / lease.stream.key)
            with leases.locked() as file:
                held = file.record.lease
                if held is None or not _is_same(held, lease) or held.expires.has_passed:
                    raise LeaseLostError(f"{lease.owner} no longer holds the lease of {lease.stream}")
                if (read_token(leases.fence) or 0) < lease.fencing_token:
                    with entered.staged(b"%d\n" % lease.fencing_token) as staged:
                        staged.replace(leases.fence)
                renewed = attrs.evolve(held, expires=Expiry.after(ttl))
                file.write(attrs.evolve(file.record, lease=renewed))

    def release(self, lease: Lease) -> None:
        """End a lease if it is still held."""
        what = f"release the lease of {lease.stream}"
        with translated(what):
            self._entered(what)
            with LeaseFiles(self._path / lease.stream.key).locked() as file:
                if file.record.lease and _is_same(file.record.lease, lease):
                    file.write(attrs.evolve(file.record, lease=None))

    def holder(self, stream: Stream) -> str | None:
        """Return the process that holds the stream's lease, in words; None if none does."""
        with translated(f"read the lease of {stream}"):
            if locks.is_locked(self._lock_file):
                return self._older_owner()
            lease = LeaseFiles(self._path / stream.key).peek().lease
            if lease is None or not self._is_held(lease):
                return None
            process = instance.describe(self._path, lease.instance)
            if not lease.expires.is_of_this_boot:
                return process
            return f"{process} (its lease expires in {max(0.0, lease.expires.remaining):.0f} s unless it is renewed)"

    # --- membership

    def heartbeat(self, pipeline: str, owner: str, ttl: float) -> int:
        """Register an owner of the pipeline, or unregister it, and return how many there are."""
        what = f"count the instances of {pipeline}"
        with translated(what):
            self._entered(what).heartbeat(pipeline, owner, ttl)
            return len(instance.members(self._path, pipeline))

    def request_handover(self, stream: Stream, ttl: float) -> None:
        """Record for `ttl` seconds that an instance waits for the stream."""
        what = f"request the handover of {stream}"
        with translated(what):
            self._entered(what)
            leases = LeaseFiles(self._path / stream.key)
            files.make_folder(leases.fence.parent)
            with leases.locked() as file:
                file.write(attrs.evolve(file.record, wanted=Expiry.after(ttl)))

    def handover_requested(self, stream: Stream) -> bool:
        """Return whether an instance waits for the stream."""
        with translated(f"check for requests of {stream}"):
            wanted = LeaseFiles(self._path / stream.key).peek().wanted
        return wanted is not None and wanted.is_of_this_boot and not wanted.has_passed

    def network_file_system(self) -> str | None:
        """Return the type of the network file system that holds the folder, if it is on one."""
        return network_file_system(self._path)

    # ---

    @property
    def _lock_file(self) -> Path:
        return self._path / ".lock"

    @property
    def _owner_file(self) -> Path:
        return self._path / ".lock-owner"

    def _older_owner(self) -> str:
        """Return the process that uses the folder alone, in words. Only older versions do."""
        match (files.read(self._owner_file) or b"").decode(errors="replace").split():
            case [pid, host]:
                return f"process {pid} on {host}, with an older rigatoni-file-state that shares no folder"
            case _:
                return "another process, with an older rigatoni-file-state that shares no folder"

    def _entered(self, what: str) -> Instance:
        if self._instance is None:
            raise FileStateError(f"cannot {what}: the store is not entered", remedy="Use it in an `async with` block.")
        self._require(self._instance)
        return self._instance

    def _require(self, entered: Instance) -> None:
        if not entered.exists:
            raise StateFolderGoneError(f"the folder of checkpoints {self._path} vanished while it was in use")

    def _is_held(self, lease: HeldLease | None, *, by_others_than: str | None = None) -> bool:
        """Return whether the lease has not expired and its instance lives."""
        if lease is None or lease.owner == by_others_than or lease.expires.has_passed:
            return False
        return instance.is_alive(self._path, lease.instance)

    def _known_token(self, stream: Stream, leases: LeaseFiles) -> int | None:
        """Return the stream's fence: the highest token that was granted or saved; None if there was none."""
        path = self.record(stream)
        stored = None
        if (content := files.read(path)) is not None:
            with suppress(CorruptCheckpointError):
                stored = load_record(stream, content, str(path)).fencing_token
        return leases.highest_token(stored)

    def _keep_corrupt(self, stream: Stream) -> None:
        """Copy the stored record if it is corrupt."""
        path = self.record(stream)
        if (content := files.read(path)) is None:
            return
        try:
            load_record(stream, content, str(path))
        except CorruptCheckpointError:
            files.keep_aside(path, content)


def _is_same(held: HeldLease, lease: Lease) -> bool:
    return (held.owner, held.fencing_token) == (lease.owner, lease.fencing_token)
