"""Credentials in URIs: masked in whatever is written, given back to what connects."""

import json
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flag3d_exp.credentials import KEPT, hidden, masked_text, same_place, usable_uri, without_user
from flag3d_exp.errors import UserError, printable


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in (KEPT, "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize(
    ("uri", "safe"),
    [
        ("http://alice:pw@host:5000/a", "http://alice:***@host:5000/a"),
        ("https://ghp_token@host/a", "https://***@host/a"),
        ("postgresql+psycopg://alice:p@ss/w#rd@host/db", "postgresql+psycopg://alice:***@host/db"),
        ("mysql://:pw@host", "mysql://:***@host"),
        (
            "postgresql://host/db?password=pw&sslmode=off",
            "postgresql://host/db?password=***&sslmode=off",
        ),
        ("https://host/a?X-Amz-Signature=pw&x=1", "https://host/a?X-Amz-Signature=***&x=1"),
        ("a http://u:p@h and ftp://v:q@k.", "a http://u:***@h and ftp://v:***@k."),
        ("http://u:p@h,http://v:q@k", "http://u:***@h,http://v:***@k"),
    ],
)
def test_what_is_secret_in_a_uri_is_masked_and_nothing_else(uri, safe):
    assert masked_text(uri) == masked_text(safe) == safe


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///mlflow.db",
        "http://127.0.0.1:5000/#/experiments/1/runs/a@b",
        "postgresql://alice@host:5432/db",
        "grpc://host:13000",
        "mail a@b.c: hello",
        "s3://bucket/a",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text):
    assert masked_text(text) == text


@given(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1))
@example("a@b")
@example("'\"")
def test_no_password_whatever_its_letters_is_left(password):
    text = f"see postgresql://alice:{password}@host/db now"
    assert masked_text(text) == "see postgresql://alice:***@host/db now"


def test_a_masked_uri_is_opened_with_its_password():
    uri = "postgresql://alice:s3cr3t-pw@host/db"
    assert hidden(uri) == "postgresql://alice:***@host/db"
    assert usable_uri("postgresql://alice:***@host/db") == uri
    assert usable_uri("postgresql://alice:***@other/db") == "postgresql://alice@other/db"


def test_without_a_kept_password_the_library_looks_for_its_own():
    assert usable_uri("postgresql://alice:***@host/db") == "postgresql://alice@host/db"
    assert usable_uri("http://alice:***@host") == "http://host"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == ""


def test_mlflow_gets_user_and_password_by_the_environment_not_in_the_uri():
    assert usable_uri(hidden("http://al%40ice:p%2Fw-long@host:5000/x")) == "http://host:5000/x"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "al@ice"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "p/w-long"


def test_a_kept_password_is_masked_in_any_message():
    hidden("mysql://alice:p%2Fw-long@host")
    assert printable("denied: p/w-long, p%2Fw-long") == "denied: ***, ***"
    assert str(UserError("denied: p/w-long")) == "denied: ***"


def test_a_password_that_is_a_word_is_masked_in_its_uri_only():
    assert hidden("postgresql://postgres:postgres@host") == "postgresql://postgres:***@host"
    text = "psql postgresql://postgres:postgres@host"
    assert printable(text) == "psql postgresql://postgres:***@host"


def test_what_is_no_json_keeps_nothing(monkeypatch):
    for text in ("{", "[1]", json.dumps("a")):
        monkeypatch.setenv(KEPT, text)
        assert usable_uri("postgresql://a:***@h") == "postgresql://a@h"


def test_places_are_the_same_whoever_connects():
    assert same_place("http://a:***@h/x", "http://b:pw@h/x")
    assert same_place("http://a:***@h/x", "http://h/x")
    assert not same_place("http://h/x", "http://k/x")
    assert not same_place("http://h/x", None)
    assert without_user("sqlite:///mlflow.db") == "sqlite:///mlflow.db"
