"""Which objects there are, in the order of their events: for those who read them back."""

from rigatoni_core.api.events import Stream

from rigatoni_s3.bucket import Bucket
from rigatoni_s3.holdings import STEM


def written(bucket: Bucket, prefix: str, pipeline: str) -> list[str]:
    """The keys of a pipeline's objects, each stream's in the order of the events."""
    folder = f"{prefix.strip('/')}/{Stream(pipeline, '*').key.partition('/')[0]}/".lstrip("/")
    found = []
    for key in bucket.keys(folder):
        stream, _, path = key.removeprefix(folder).partition("/")
        if (match := STEM.search(path)) and not path.startswith("_rigatoni/"):
            found.append((stream, match[1], key))
    return [key for _, _, key in sorted(found)]
