"""The storage of a study: a journal file, a database or a gRPC proxy."""

import logging
import warnings
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import StudyDirection

from flag3d_exp import files
from flag3d_exp.credentials import usable_uri
from flag3d_exp.errors import UserError
from flag3d_exp.runs.begun import check_same
from flag3d_exp.sweep.drivers import register

log = logging.getLogger(__name__)

ACCEPTED = (
    "a journal file, a database URL (postgresql+psycopg://..., mysql+pymysql://..., "
    "sqlite:///...) or a gRPC proxy (grpc://host:port)"
)


def open_storage(address: str) -> BaseStorage:
    """Open the storage at `address`; create a missing journal file.

    Raises:
        UserError: the storage cannot be reached, or its database driver is not installed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        if address.startswith("grpc://"):
            host, _, port = address.removeprefix("grpc://").rpartition(":")
            proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port))
            proxy.wait_server_ready(timeout=30)
            return proxy
        if "://" in address:
            return optuna.storages.RDBStorage(usable_uri(address))
        lock = JournalFileSymlinkLock(address)
        backend = JournalFileBackend(address, lock)
        _drop_cut_line(Path(address), lock)
        return JournalStorage(backend)
    except Exception as error:  # each database driver raises its own exceptions
        raise _unusable(address, error) from error


def _drop_cut_line(path: Path, lock: JournalFileSymlinkLock) -> None:
    """Remove an incomplete last line of a killed writer: the next line would be appended to it."""
    lock.acquire()
    try:
        with path.open("rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                log.warning("%s: its last line is cut off and is dropped", path)
                file.truncate(whole)
    finally:
        lock.release()


def _unusable(address: str, error: Exception) -> UserError:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(
        f"`hydra.sweeper.storage={address}` cannot be used: {first} Accepted: {ACCEPTED}."
    )


def open_study(
    folder: Path, name: str, address: str, directions: list[str], begun: dict[str, Any]
) -> tuple[optuna.Study, BaseStorage, int]:
    """Open the study; create it if it is missing, in one process at a time, as databases need.

    Args:
        begun: the description of the sweep that this driver was started with.

    Returns:
        The study, its storage, and the number of this driver among all drivers of the study.

    Raises:
        UserError: the storage cannot be used, or the study was begun with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".creation.lock"):
        files.remove_abandoned(folder, recursive=False)
        storage = open_storage(address)
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=[StudyDirection[direction.upper()] for direction in directions],
                load_if_exists=True,
            )
            driver, first = register(name, storage, begun)
        except Exception as error:  # the replay of a damaged journal may raise anything
            raise _unusable(address, error) from error
    if not isinstance(first, dict):
        raise _unusable(address, ValueError("it does not say what the study was begun with"))
    check_same(
        first,
        begun,
        f"The study `{name}`",
        "another `hydra.sweeper.study_name` begins another study",
    )
    known = [direction.name.lower() for direction in study.directions]
    if known != directions:
        raise UserError(
            f"`hydra.sweeper.objectives`: study {name} is there with directions {known}; "
            f"got {directions}. Another `hydra.sweeper.study_name` starts another study."
        )
    return study, storage, driver
