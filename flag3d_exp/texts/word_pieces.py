"""Tokenise sentences into word pieces of BERT's uncased vocabulary (Devlin et al., NAACL 2019)."""

import unicodedata
from collections.abc import Mapping

MAX_WORD = 100  # letters; longer words are unknown


class WordPieces:
    """Sentence -> numbers of word pieces, between [CLS] and [SEP].

    Args:
        vocabulary: word pieces in the order of their numbers; those within a word begin with ##.
        max_length: word pieces of a sentence, including [CLS] and [SEP]; the rest is cut off.
    """

    def __init__(self, vocabulary: list[str], max_length: int = 256):
        self.numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self.max_length = max_length

    def __call__(self, sentence: str) -> list[int]:
        """The numbers."""
        pieces = [piece for word in words(sentence) for piece in _pieces(word, self.numbers)]
        names = ["[CLS]", *pieces[: self.max_length - 2], "[SEP]"]
        return [self.numbers[name] for name in names]


def words(sentence: str) -> list[str]:
    """Words in lower case, without accents; punctuation marks and Chinese characters are words."""
    spaced: list[str] = []
    for letter in unicodedata.normalize("NFD", sentence.lower()):
        kind = unicodedata.category(letter)
        if kind == "Mn" or letter in "\0\ufffd":
            continue
        if letter.isspace() or kind.startswith("Z"):
            spaced.append(" ")
        elif kind.startswith("C"):
            continue
        else:
            spaced.append(f" {letter} " if _stands_alone(letter, kind) else letter)
    return "".join(spaced).split()


def _stands_alone(letter: str, kind: str) -> bool:
    ascii_symbol = letter.isascii() and not letter.isalnum()
    chinese = 0x4E00 <= ord(letter) <= 0x9FFF or 0x3400 <= ord(letter) <= 0x4DBF
    return ascii_symbol or kind.startswith("P") or chinese


def _pieces(word: str, known: Mapping[str, int]) -> list[str]:
    """The longest known pieces from left to right; [UNK] if the word can't be split."""
    if len(word) > MAX_WORD:
        return ["[UNK]"]
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in known:
                found.append(piece)
                start = end
                break
        else:
            return ["[UNK]"]
    return found
