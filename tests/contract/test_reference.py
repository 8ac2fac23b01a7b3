"""`/openapi.json` and `/docs` as they are served."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from hashlib import sha256
from html.parser import HTMLParser
from typing import Final
from uuid import UUID

import httpx
import pytest

from chassis.errors import ERROR_TABLE
from chassis.signing import payload_message, possession_message, session_signature_message
from tests.cluster import Cluster
from tests.described import DESCRIPTION, METHODS

PATHS: Final = ("/openapi.json", "/docs")
# Elements that have no end tag (HTML, section 13.1.2).
VOID: Final = frozenset({"meta", "link", "br", "hr", "img", "input"})


class Page(HTMLParser):
    """What a page is made of; fails at an end tag that does not end the innermost element."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.style = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.style += data

    def values(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]


@pytest.fixture(scope="module")
async def reference(cluster: Cluster) -> httpx.Response:
    return await cluster.http.get("/docs")


async def test_document_is_served_to_everybody(cluster: Cluster) -> None:
    """Without a credential, as JSON, and it is the document that the other tests hold answers against."""
    answer = await cluster.http.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == DESCRIPTION.document


@pytest.mark.parametrize("path", PATHS)
async def test_document_is_sent_again_only_when_it_is_another(cluster: Cluster, path: str) -> None:
    """Whoever names the version he has gets 304 and no body; another version, or none, gets it whole."""
    first = await cluster.http.get(path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await cluster.http.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await cluster.http.get(path, headers={"if-none-match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)
    head = await cluster.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(first.content))


@pytest.mark.parametrize("path", PATHS)
async def test_document_takes_no_other_verb(cluster: Cluster, path: str) -> None:
    """A POST is refused with the verbs there are."""
    answer = await cluster.http.post(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_page_is_well_formed(reference: httpx.Response) -> None:
    """Every element ends where it should, ids are unique, and each link leads to one of them."""
    assert reference.headers["content-type"] == "text/html; charset=utf-8"
    assert reference.text.startswith("<!doctype html>")
    page = Page(reference.text)
    ids = page.values("id")
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    links = page.values("href")
    assert [link for link in links if link.startswith("#") and link[1:] not in ids] == []
    assert {link for link in links if not link.startswith("#")} == {"openapi.json"}


def test_page_has_an_anchor_for_each_operation_credential_and_error(reference: httpx.Response) -> None:
    """Whoever is sent a link lands where it says."""
    ids = set(Page(reference.text).values("id"))
    document = DESCRIPTION.document
    assert ids >= {f"operation-{operation['operationId']}" for _, _, operation in DESCRIPTION.operations()}
    assert ids >= {f"credential-{name}" for name in document["components"]["securitySchemes"]}
    assert ids >= {f"error-{code}" for code in ERROR_TABLE}
    for method in METHODS.values():
        for binding in method.bindings:
            assert f"<code>{binding.template}</code>" in reference.text


def test_page_shows_the_fields_of_every_signed_message_at_its_route(reference: httpx.Response) -> None:
    """Number, name, type and comment of each field stand beside the route that takes the message."""
    for method in METHODS.values():
        if not method.takes_payload:
            continue
        _, _, after = reference.text.partition(
            f'<section class="operation" id="operation-{method.descriptor.name}">'
        )
        section = after.partition("</section>")[0]
        name = str(method.payload_message).rpartition(".")[2]
        assert f'<h4>Message in the payload: <a href="#type-{name}">{name}</a>' in section
        for field_name, field in DESCRIPTION.document["components"]["schemas"][name]["properties"].items():
            number, kind = field["x-protobuf-number"], field["x-protobuf-type"]
            assert f"<tr><td>{number}</td><td><code>{field_name}</code></td><td>{kind}" in section


def test_description_says_itself_what_is_signed(reference: httpx.Response) -> None:
    """It names the three sorts of signed bytes, and sends nobody to a page that is not served."""
    account_id = UUID(int=1)
    signed = (
        payload_message("a", account_id, b""),
        session_signature_message("a", account_id, account_id, method="GET", target="/", body=b""),
        possession_message("a", account_id, bytes(32)),
    )
    for text in (reference.text, json.dumps(DESCRIPTION.document)):
        assert re.findall(r"docs/\S+|\S+\.md\b", text) == []
        for message in signed:
            assert f"{message.partition(bytes(1))[0].decode()}" in text


def test_page_needs_nothing_from_elsewhere(reference: httpx.Response) -> None:
    """No script, no picture, no style but its own, which the policy names; nothing else may be loaded."""
    page = Page(reference.text)
    assert not page.elements.keys() & {"script", "link", "img", "iframe", "object", "form"}
    assert not any(name.startswith("on") or name in ("style", "src") for _, name, _ in page.attributes)
    assert "url(" not in page.style
    assert "@import" not in page.style
    policy = dict(re.findall(r"([a-z-]+) ([^;]+)", reference.headers["content-security-policy"]))
    digest = base64.b64encode(sha256(page.style.encode()).digest()).decode()
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert reference.headers["x-content-type-options"] == "nosniff"


def test_page_follows_the_readers_colours(reference: httpx.Response) -> None:
    """Dark where the reader prefers dark."""
    assert "prefers-color-scheme: dark" in Page(reference.text).style
