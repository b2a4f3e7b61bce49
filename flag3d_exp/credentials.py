"""Credentials in URIs: masked where they enter the program, restored when a library connects.

`hidden` replaces the credentials by `***` and keeps the URI in an environment variable, which only
child processes inherit. So no configuration, file, page, command line or message holds credentials.
`usable_uri` returns the full URI for the library that connects. Without a kept URI, as in a resumed
run, the library finds the credentials itself: MLflow in MLFLOW_TRACKING_USERNAME and
MLFLOW_TRACKING_PASSWORD, PostgreSQL in PGPASSWORD or ~/.pgpass.
"""

import json
import os
import re
from functools import lru_cache
from urllib.parse import unquote

MASK = "***"
KEPT = "FLAG3D_EXP_CREDENTIALS"  # environment variable: masked URI -> URI, as JSON
MIN_SECRET = 6  # shorter passwords are masked only within their URI
SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
# Up to the last @, because a password may hold any character. After a web server's name, digits
# before a slash are a port.
USER = rf"(?<![A-Za-z0-9+.-])(?:(?!https?://){SCHEME}[^\s:/?#@]*|https?://[^\s:/?#@]*(?!:\d+[/?#]))"
PASSWORD = re.compile(rf"({USER}):((?:(?!://)\S)*)@")
TOKEN = re.compile(r"(https?://)[^\s:/?#@]+@")
SETTING = re.compile(
    r"([?&;](?:[\w.-]*(?:password|passwd|pwd|secret|token|credential|signature|api_?key)|sig)=)"
    r"[^\s&#;'\"]+",
    re.IGNORECASE,
)


def masked_text(text: str) -> str:
    """The text with `***` for the passwords, tokens and keys of the URIs in it."""
    if "://" in text:
        text = PASSWORD.sub(rf"\1:{MASK}@", text)
        text = TOKEN.sub(rf"\1{MASK}@", text)
        text = SETTING.sub(rf"\1{MASK}", text)
    for secret in _secrets(os.environ.get(KEPT, "")):
        text = text.replace(secret, MASK)
    return text


def hidden(uri: str) -> str:
    """The masked URI; the full one is kept for `usable_uri` in this process and its children."""
    safe = masked_text(uri)
    if safe != uri:
        kept = _kept_secrets(os.environ.get(KEPT, "")) | {safe: uri}
        os.environ[KEPT] = json.dumps(kept)
    return safe


def usable_uri(uri: str) -> str:
    """The URI to connect to, for a URI that may be masked.

    The user and password of a web server are put into MLflow's environment variables instead,
    because MLflow repeats URIs in its messages.
    """
    uri = _kept_secrets(os.environ.get(KEPT, "")).get(uri, uri)
    if not uri.startswith(("http://", "https://")):
        return uri.replace(f":{MASK}@", "@")
    if found := PASSWORD.match(uri):
        if found[2] != MASK:
            os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(found[1].partition("://")[2])
            os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(found[2])
        return without_user(uri)
    return uri


def without_user(uri: str) -> str:
    """The URI without user and password, for a browser and for comparing stores."""
    safe = masked_text(uri)
    return re.sub(rf"^({SCHEME})[^/?#@]*@", r"\1", safe)


def same_place(uri: str | None, other: str | None) -> bool:
    """Whether two URIs differ at most in their user and password."""
    if uri is None or other is None:
        return uri is other
    return without_user(uri) == without_user(other)


@lru_cache(maxsize=8)
def _kept_secrets(text: str) -> dict[str, str]:
    try:
        kept = json.loads(text)
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}


@lru_cache(maxsize=8)
def _secrets(text: str) -> tuple[str, ...]:
    """The kept passwords, percent-encoded as in the URI and decoded, the longest first.

    Short passwords and passwords of letters only are left out: `mlflow` and `postgres` are also
    ordinary words.
    """
    found: set[str] = set()
    for uri in _kept_secrets(text).values():
        for pattern in (PASSWORD, SETTING):
            for match in pattern.finditer(uri):
                raw = match[2] if pattern is PASSWORD else match[0].partition("=")[2]
                found |= {raw, unquote(raw)}
    known = [one for one in found if len(one) >= MIN_SECRET and not one.isalpha()]
    return tuple(sorted(known, key=len, reverse=True))
