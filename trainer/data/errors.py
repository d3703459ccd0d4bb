"""What can go wrong while a data set is prepared or opened, as types.

DataError
├── CorpusTooSmallError     too few documents or tokens for the request
├── CorpusNotFoundError     the source names no readable file
├── CorpusUnreadableError   a file of the corpus is damaged
├── DataDiskFullError       no space left while writing
├── DownloadError           a shard could not be fetched whole
├── DatasetNotFoundError    no prepared data set where one was expected
└── DatasetCorruptError     a file does not have the size or hash its manifest states
"""

from services.errors import (
    DataLossError,
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)


class DataError(ServiceError):
    """Root of this tree; the message names the cause and the way out."""


class CorpusTooSmallError(DataError, FailedPreconditionError):
    """The corpus has too few documents or tokens for the requested rows."""

    default_reason = "CORPUS_TOO_SMALL"


class CorpusNotFoundError(DataError, NotFoundError):
    """The source names no file that can be read as text."""

    default_reason = "CORPUS_NOT_FOUND"


class CorpusUnreadableError(DataError, DataLossError):
    """A file of the corpus is not of the format its name says."""

    default_reason = "CORPUS_UNREADABLE"


class DataDiskFullError(DataError, ResourceExhaustedError):
    """The disk filled up while a data set was being written; nothing half valid remains."""

    default_reason = "DISK_FULL"


class DownloadError(DataError, UnavailableError):
    """A file could not be downloaded whole after all retries."""

    default_reason = "DOWNLOAD_FAILED"


class DatasetNotFoundError(DataError, NotFoundError):
    """There is no prepared data set at the given place."""

    default_reason = "DATASET_NOT_FOUND"


class DatasetCorruptError(DataError, DataLossError):
    """A stored file differs from its manifest."""

    default_reason = "DATASET_CORRUPT"
