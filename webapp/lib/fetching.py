"""Files from strangers' web addresses: with timeouts, retries that wait longer each time, limits.

An address may come from a person on the network, so private ones can be refused
(`lib/public_addresses.py`).
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NameResolutionError
from urllib3.util import Retry

from webapp.errors import InvalidParams
from webapp.lib.public_addresses import NoSuchServer, PublicAdapter, check_address

CONNECT_S, READ_S, WHOLE_S = 5.0, 30.0, 300.0
MOST_REDIRECTS = 3
CHUNK_BYTES = 1 << 16
# Asked again where trouble may pass; each wait is about twice the one before.
PATIENT = Retry(
    total=3,
    redirect=MOST_REDIRECTS,
    status_forcelist={429, 500, 502, 503, 504},
    allowed_methods={"GET"},
    backoff_factor=0.5,
    backoff_max=8.0,
    backoff_jitter=0.25,
    respect_retry_after_header=False,
    raise_on_status=False,
)


class Unfetchable(Exception):
    """The file could not be fetched; the sentence says why, without a capital at its start."""


def download(
    url: str, target: Path, most_bytes: int, *, private_allowed: bool, retry: Retry = PATIENT
) -> None:
    """Write what an address answers into a file.

    Raises: InvalidParams for an address not to be asked, Unfetchable for anything else
    """
    check_address(url, private_allowed=True)
    adapter = HTTPAdapter if private_allowed else _EachHopPublic
    with requests.Session() as session:
        session.trust_env = False
        session.max_redirects = MOST_REDIRECTS
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter(max_retries=retry))
        headers = {"Accept": "application/json"}
        try:
            with session.get(
                url, stream=True, timeout=(CONNECT_S, READ_S), headers=headers
            ) as answer:
                if answer.status_code != 200:
                    raise Unfetchable(f"the server answered {answer.status_code}.")
                _save(answer, target, most_bytes)
        except requests.exceptions.InvalidSchema as error:
            sentence = "Write an address that begins with https:// or http://."
            raise InvalidParams({"url": sentence}) from error
        except requests.TooManyRedirects as error:
            raise Unfetchable("the address redirects too often.") from error
        except requests.RequestException as error:
            if isinstance(getattr(error.args[0], "reason", None), NameResolutionError):
                raise Unfetchable("there is no server of that name.") from error
            raise Unfetchable(f"{type(error).__name__} from the server.") from error


class _EachHopPublic(PublicAdapter):
    """Looks at every address before it is connected to, those of redirects, too.

    Otherwise the answer would tell whether anything listens inside the private network.
    """

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        # An unknown name may become known: that is for the retries to find out.
        with suppress(NoSuchServer):
            check_address(request.url or "", private_allowed=False)
        return super().send(request, *args, **kwargs)


def _save(answer: requests.Response, target: Path, most_bytes: int) -> None:
    size, deadline = 0, time.monotonic() + WHOLE_S
    with target.open("wb") as file:
        for chunk in answer.iter_content(CHUNK_BYTES):
            size += len(chunk)
            if size > most_bytes:
                raise Unfetchable(f"they are larger than {most_bytes >> 20} MB.")
            if time.monotonic() > deadline:
                raise Unfetchable("the server took longer than five minutes.")
            file.write(chunk)
