"""The formats of raw documents that a component reads."""

from abc import ABC, abstractmethod

ANY_FORMAT = "*"
"""What a `FormatReader` accepts if it looks at decoded events only: the source's decoder does the reading."""


class FormatReader(ABC):
    """Base of serializers and transforms, and optional ability of a destination that reads raw documents itself.

    Compared with the format of the source (`Decoder.format`) before anything is opened: when a configuration is read,
    and when a pipeline is built.
    """

    @property
    @abstractmethod
    def accepts(self) -> frozenset[str]:
        """The formats that it reads, such as `bson`; `ANY_FORMAT` in it stands for all.

        Usually a constant of the class. A wrapper accepts what the component that it wraps accepts.
        """
