"""The checks of `rigatoni doctor` for a bucket: what deletes or archives objects later. They only read.

Rigatoni reads its own objects and the records below `_rigatoni/` whenever a stream starts. A rule that removes them
takes a stream's place away, and one that archives them makes them unreadable (S3 user guide, "Managing the lifecycle of
objects").
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
from botocore.exceptions import ClientError
from rigatoni_core.api.contracts import Finding

from rigatoni_s3.bucket import Bucket
from rigatoni_s3.errors import code_of, status_of, translated
from rigatoni_s3.probing import PROBES

ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects cannot be read without a restore."""

_ABSENT = frozenset({"NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError"})


@attrs.frozen
class Diagnosis:
    """The checks of one bucket. Its methods block.

    Attributes:
        bucket: The bucket, which was probed.
        prefix: The prefix of the destination's keys: empty, or with a trailing slash.
        tags: The tags of the destination's objects.
    """

    bucket: Bucket
    prefix: str
    tags: Mapping[str, str]

    def lifecycle(self) -> Sequence[Finding]:
        """Report rules that delete or archive objects of this destination."""
        found = self._ask("get_bucket_lifecycle_configuration", "s3:GetLifecycleConfiguration")
        if isinstance(found, Finding):
            return [found]
        rules = [rule for rule in found.get("Rules", ()) if rule.get("Status") == "Enabled" and self._concerns(rule)]
        findings = [finding for rule in rules for finding in self._of_rule(rule)]
        return findings or [Finding("ok", f"no lifecycle rule deletes or archives objects below {self._where}")]

    def versions_and_locks(self) -> Sequence[Finding]:
        """Report versioning and Object Lock, which keep objects that were deleted."""
        versioning = self._ask("get_bucket_versioning", "s3:GetBucketVersioning")
        lock = self._ask("get_object_lock_configuration", "s3:GetBucketObjectLockConfiguration")
        findings = [found for found in (versioning, lock) if isinstance(found, Finding)]
        if not isinstance(versioning, Finding):
            enabled = versioning.get("Status") == "Enabled"
            kept = "versions are kept: removed objects of probes and snapshots still take space"
            findings.append(Finding("ok", kept if enabled else "the bucket keeps no versions"))
        locked = not isinstance(lock, Finding) and lock.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled")
        if locked and self.bucket.checksum is None:
            seen = "Object Lock is enabled, and such a bucket refuses objects without a checksum"
            findings.append(Finding("error", seen, 'Remove checksum_algorithm = "none".'))
        elif locked:
            findings.append(Finding("ok", "Object Lock is enabled: objects are never overwritten, so it does no harm"))
        return findings

    def leftovers(self) -> Sequence[Finding]:
        """Report objects of earlier probes: they remain if the credentials may not delete them."""
        left = self.bucket.keys(f"{self.prefix}{PROBES}", limit=1000)
        seen = "objects can be put, read and listed (probed at connecting)"
        if not left:
            return [Finding("ok", seen)]
        remedy = f"Grant s3:DeleteObject on {self.prefix}{PROBES}* and on {self.prefix}*/_rigatoni/staged/*."
        seen = f"{seen}, but {len(left)} objects of earlier probes remain: the credentials may not delete them"
        return [Finding("warning", seen, remedy, {"leftovers": float(len(left))})]

    @property
    def _where(self) -> str:
        return f"s3://{self.bucket.name}/{self.prefix}"

    def _ask(self, call: str, action: str) -> Mapping[str, Any] | Finding:
        """Return the response, which is empty if nothing is configured, or why it cannot be read."""
        with translated(self.bucket.name):
            try:
                response: Mapping[str, Any] = getattr(self.bucket.client, call)(Bucket=self.bucket.name)
            except ClientError as error:
                if code_of(error) in _ABSENT:
                    return {}
                if status_of(error) == 403:
                    seen = f"{call} is not permitted at s3://{self.bucket.name}"
                    return Finding("not checked", seen, f"Grant {action} on arn:aws:s3:::{self.bucket.name}.")
                if status_of(error) in (400, 404, 405, 501):
                    seen = f"this store does not support {call} ({code_of(error)})"
                    return Finding("not checked", seen, "Check its settings with the tools of its vendor.")
                raise
        return response

    def _concerns(self, rule: Mapping[str, Any]) -> bool:
        """Return whether a rule may apply to objects of this destination."""
        condition = rule.get("Filter", {})
        both = condition.get("And", condition)
        prefix = both.get("Prefix", rule.get("Prefix", ""))
        tags = [*both.get("Tags", ()), *([both["Tag"]] if "Tag" in both else ())]
        if any(self.tags.get(tag["Key"]) != tag["Value"] for tag in tags):
            return False
        if prefix.startswith(f"{self.prefix}{PROBES}"):  # what a probe has left serves nothing
            return False
        return bool(prefix.startswith(self.prefix) or self.prefix.startswith(prefix))

    def _of_rule(self, rule: Mapping[str, Any]) -> Iterator[Finding]:
        name, expiration = rule.get("ID", "without an ID"), rule.get("Expiration", {})
        if "Days" in expiration or "Date" in expiration:
            when = f"after {expiration['Days']} days" if "Days" in expiration else f"on {expiration['Date']}"
            yield Finding(
                "warning",
                f"the lifecycle rule {name} deletes objects below {self._where} {when}, also Rigatoni's records",
                "Limit the rule to other prefixes, or make it longer than the oldest checkpoint that you may restore.",
                {"expires_after_days": float(expiration["Days"])} if "Days" in expiration else {},
            )
        classes = {str(each.get("StorageClass")) for each in rule.get("Transitions", ())}
        if archived := sorted(classes & ARCHIVES):
            yield Finding(
                "warning",
                f"the lifecycle rule {name} archives objects below {self._where} ({', '.join(archived)}): Rigatoni and "
                "other readers cannot read them there",
                "Exclude this prefix from the rule, or use STANDARD_IA or GLACIER_IR.",
            )
