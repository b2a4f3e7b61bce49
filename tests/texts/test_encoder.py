"""The sentence encoder against published numbers, and the stored vectors against the encoder."""

import json

import numpy as np
import pytest

from flag3d_exp.errors import UserError
from flag3d_exp.texts import encoder, vectors
from flag3d_exp.texts.descriptions import Description, class_descriptions
from flag3d_exp.texts.encoder import installed_encoder, tensors
from flag3d_exp.texts.word_pieces import WordPieces, words


@pytest.fixture
def installed():
    try:
        return installed_encoder()
    except UserError as error:
        pytest.skip(f"the sentence encoder is not checked: {error}")


@pytest.fixture
def absent(monkeypatch):
    """No encoder is installed."""
    installed_encoder.cache_clear()
    monkeypatch.setattr(encoder, "PACKAGE", "no_such_package")
    yield
    installed_encoder.cache_clear()


def test_words_have_no_capitals_and_accents_and_marks_are_words():
    assert words("Élan: don't\tSTOP!") == ["elan", ":", "don", "'", "t", "stop", "!"]


def test_words_are_cut_into_the_longest_known_pieces():
    pieces = ["[CLS]", "[SEP]", "[UNK]", "push", "##up", "##ups", "##s", "the"]
    take = WordPieces(pieces, max_length=5)
    assert take("The pushups") == [0, 7, 3, 5, 1]
    assert take("pull") == [0, 2, 1]
    assert take("the the the the the") == [0, 7, 7, 7, 1]


def test_tensors_are_read_from_their_places():
    values = np.arange(6, dtype=np.float32)
    header = {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [16, 24]},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    }
    text = json.dumps(header).encode()
    found = tensors(len(text).to_bytes(8, "little") + text + values.tobytes())
    np.testing.assert_array_equal(found["a"], values[:4].reshape(2, 2))
    np.testing.assert_array_equal(found["b"], values[4:])


def test_similarities_are_the_published_ones(installed):
    sentences = [
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
    ]
    made = installed(sentences)
    assert made.shape == (3, 384) and made.dtype == np.float32
    published = [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]]
    np.testing.assert_allclose(made @ made.T, published, atol=6e-5)


def test_every_shipped_sentence_has_a_vector(absent):
    made = vectors.sentence_vectors(vectors.shipped_sentences())
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, rtol=1e-5)


def test_stored_vectors_are_the_encoder_s(installed):
    assert vectors.fingerprint() == installed.fingerprint
    chosen = vectors.shipped_sentences()[::20]
    np.testing.assert_allclose(installed(chosen), vectors.sentence_vectors(chosen), atol=2e-4)


def test_sentences_of_one_s_own_are_encoded(installed):
    made = vectors.description_vectors([Description("wave", "Wave the raised hand.")])
    np.testing.assert_allclose(made, installed(["Wave the raised hand."]), rtol=1e-5)


def test_sentences_of_one_s_own_need_the_encoder(absent):
    with pytest.raises(UserError, match="need the encoder of the extra `text`.*pip install"):
        vectors.description_vectors([Description("wave", "Wave the raised hand.")])


def test_another_encoder_is_refused(installed, monkeypatch):
    monkeypatch.setattr(installed, "fingerprint", "other 0")
    with pytest.raises(UserError, match="encoder is other 0, but vectors here are of all-MiniLM"):
        vectors.description_vectors([Description("wave", "Wave the raised hand.")])


def test_parts_add_to_the_vector_of_a_class():
    chosen = class_descriptions("flag3d", ["Push-ups"])
    whole, mean = vectors.description_vectors(chosen), vectors.description_vectors(chosen, True)
    assert np.linalg.norm(mean) == pytest.approx(1, rel=1e-5)
    assert 0.5 < float((whole @ mean.T)[0, 0]) < 0.999
    expected = vectors.sentence_vectors(chosen[0].sentences).mean(0)
    np.testing.assert_allclose(mean[0], expected / np.linalg.norm(expected), rtol=1e-5)


def test_the_digest_is_of_names_and_sentences():
    one, other = Description("a", "Go."), Description("a", "Go.", (("legs", "Step."),))
    assert vectors.digest([one]) != vectors.digest([other])
    assert vectors.digest([one]) == vectors.digest([Description("a", "Go.")])
