"""Generates what is derived: the error-code proto, all of `gen/`, two pages and the tables of a third, most
of the client.

Run by `make gen`; `make lint` runs it into a scratch directory and compares.
"""

from __future__ import annotations

import importlib.resources
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chassis.errors import ERROR_TABLE, Code
from tools.client_code import GENERATED_FILES, GENERATED_FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from chassis.methods import Method

ROOT = Path(__file__).resolve().parent.parent
ERROR_PROTO = Path("protos/sealgate/common/v1/error_code.proto")
ERROR_PAGE = Path("docs/errors.md")
ROUTE_PAGE = Path("docs/routes.md")
SIGNING_PAGE = Path("docs/signing.md")
PAGES = (ERROR_PROTO, ERROR_PAGE, ROUTE_PAGE, SIGNING_PAGE)
CLIENT = Path("client/sealgate/client")


def error_proto() -> str:
    """The proto enum of the error table."""
    lines = [
        'syntax = "proto3";',
        "",
        "package sealgate.common.v1;",
        "",
        "// What can go wrong. Generated from the error table by `make gen`; the reason of",
        "// every google.rpc.ErrorInfo with the domain `sealgate` is one of these names",
        "// without its prefix.",
        "enum ErrorCode {",
        "  // Never sent.",
        "  ERROR_CODE_UNSPECIFIED = 0;",
    ]
    for number, code in enumerate(Code, start=1):
        lines += [f"  // {ERROR_TABLE[code].message}", f"  ERROR_CODE_{code} = {number};"]
    return "\n".join([*lines, "}", ""])


def error_page() -> str:
    """The reference page of the error table."""
    lines = [
        "# Errors",
        "",
        "Generated from the error table (`chassis/errors.py`) by `make gen`.",
        "",
        "Every refusal has one of these codes: over REST as `error.code`, over gRPC as the reason of a",
        "`google.rpc.ErrorInfo` with the domain `sealgate`. A code has one text; what is wrong with",
        "which field stands in `error.details` (gRPC: `google.rpc.BadRequest`). `Retry-After` (gRPC:",
        "`google.rpc.RetryInfo`) says when a repeat makes sense, and `request_id` (gRPC:",
        "`google.rpc.RequestInfo`) finds the request in the logs. In Python `rpc_status.from_call(error)` of",
        "`grpcio-status` reads what gRPC has beside the text.",
        "",
        "| code | HTTP | gRPC | text |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{row.code}` | {row.http_status} | {row.grpc_status} | {row.message} |"
        for row in ERROR_TABLE.values()
    ]
    return "\n".join([*lines, ""])


def route_page(descriptor: Path) -> str:
    """The reference page of what is served over REST, from a descriptor set with its comments."""
    # Here, because importing it needs what was just generated.
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from chassis.methods import CredentialKind

    lines = [
        "# Routes",
        "",
        "Generated from the contracts in `protos/` by `make gen`.",
        "",
        "Credentials: **project** is `X-PROJECT-API-KEY: sk_…`, **session** is `Authorization: Bearer` with",
        "a session token, **API key** is `X-API-KEY: sk_…`, **device** is `X-DEVICE-KEY: dk_…`; **master",
        "key** and **session key** are Ed25519 signatures over the request, see [signing](signing.md). A",
        "request has exactly one; the scope is what it has to hold.",
        "",
        "What is sent and answered, refusals included, is on the page that a running edge serves at `/docs`,",
        "and in OpenAPI 3.1 at `/openapi.json`; every error is on [the page of errors](errors.md). The",
        "edge's own routes are these two, `GET /healthz` and `GET /readyz`.",
        "",
        "| route | credentials | scope | RPC | what it does |",
        "|---|---|---|---|---|",
    ]
    words = {
        CredentialKind.PROJECT_KEY: "project",
        CredentialKind.ACCOUNT_SESSION: "session",
        CredentialKind.ACCOUNT_API_KEY: "API key",
        CredentialKind.DEVICE_KEY: "device",
        CredentialKind.MASTER_KEY: "master key",
        CredentialKind.SESSION_KEY: "session key",
    }
    for method, comment in described_methods(FileDescriptorSet.FromString(descriptor.read_bytes())):
        accepted = ", ".join(words[kind] for kind in sorted(method.accepts)) or "none"
        scope = f"`{method.scope}`" if method.scope else ""
        rpc = method.full_name.split(".")[-1]
        lines += [
            f"| `{binding.verb} {binding.template}` | {accepted} | {scope} | `{rpc}` | {comment} |"
            for binding in method.bindings
        ]
    return "\n".join([*lines, ""])


def signing_page(descriptor: Path) -> str:
    """The page about signing: what people wrote of it, with its tables as the contracts have them."""
    # Here, because importing it needs what was just generated.
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from tools.client_contracts import read_contracts
    from tools.signing_page import with_tables

    contracts = read_contracts(FileDescriptorSet.FromString(descriptor.read_bytes()))
    return with_tables((ROOT / SIGNING_PAGE).read_text(encoding="utf-8"), contracts)


def described_methods(files: FileDescriptorSet) -> Iterator[tuple[Method, str]]:
    """Every method of ours with the first sentence of its comment, as the protos have them."""
    from google.protobuf.descriptor_pool import DescriptorPool

    from chassis.methods import method_table

    pool = DescriptorPool()
    for file in files.file:
        comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        pool.Add(file)
        if not file.package.startswith("sealgate."):
            continue
        for service_index, service in enumerate(file.service):
            table = method_table([pool.FindServiceByName(f"{file.package}.{service.name}")])
            for index, row in enumerate(table.values()):
                # FileDescriptorProto.service is field 6, ServiceDescriptorProto.method field 2.
                comment = " ".join(comments[6, service_index, 2, index].split())
                yield row, comment.partition(". ")[0].rstrip(".") + "."


def run_protoc(root: Path, target: Path) -> None:
    """Compiles `root/protos` into `target` (messages, stubs, types and the descriptor set)."""
    import grpc_tools

    site_packages = Path(grpc_tools.__file__).resolve().parent.parent
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    sources = sorted(str(path.relative_to(root / "protos")) for path in (root / "protos").rglob("*.proto"))
    programs = Path(sys.executable).parent
    descriptor_set = target / "sealgate.binpb"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"--plugin=protoc-gen-mypy={programs / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={programs / 'protoc-gen-mypy_grpc'}",
            f"--proto_path={root / 'protos'}",
            f"--proto_path={site_packages}",
            f"--proto_path={well_known}",
            f"--python_out={target}",
            f"--mypy_out=quiet:{target}",
            f"--grpc_python_out={target}",
            f"--mypy_grpc_out=only_async,quiet:{target}",
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={descriptor_set}",
            *sources,
        ],
        check=True,
        cwd=root / "protos",
    )


def write_client(target: Path, descriptor: Path) -> None:
    """Writes the generated part of the client into its package `target`, in the form that ruff gives it."""
    # Here, because importing it needs what was just generated.
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from tools.client_code import client_files

    texts = client_files(FileDescriptorSet.FromString(descriptor.read_bytes()))
    for folder in GENERATED_FOLDERS:
        shutil.rmtree(target / folder, ignore_errors=True)
        (target / folder).mkdir(parents=True)
    paths = [target / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    ruff = Path(sys.executable).parent / "ruff"
    style = ("--isolated", "--no-cache", "--quiet", "--line-length=110", "--target-version=py311")
    subprocess.run([ruff, "check", "--fix", "--select=I,RUF022", *style, *paths], check=True)
    subprocess.run([ruff, "format", *style, *paths], check=True)


def generate(target: Path) -> None:
    """Writes all that is derived under `target`, from the tree's sources."""
    (target / "docs").mkdir(parents=True, exist_ok=True)
    if target != ROOT:
        shutil.copytree(ROOT / "protos", target / "protos")
    (target / ERROR_PROTO).write_text(error_proto(), encoding="utf-8")
    (target / ERROR_PAGE).write_text(error_page(), encoding="utf-8")
    shutil.rmtree(target / "gen", ignore_errors=True)
    (target / "gen").mkdir()
    run_protoc(target, target / "gen")
    descriptor = target / "gen" / "sealgate.binpb"
    (target / ROUTE_PAGE).write_text(route_page(descriptor), encoding="utf-8")
    (target / SIGNING_PAGE).write_text(signing_page(descriptor), encoding="utf-8")
    write_client(target / CLIENT, descriptor)


def files_under(directory: Path) -> dict[str, bytes]:
    """Contents of the generated files below a directory, byte-code excepted."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


def drift() -> list[str]:
    """Names of the generated files that differ from what the sources give now."""
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        generate(scratch)
        different = []
        for folder in (Path("gen"), *(CLIENT / name for name in GENERATED_FOLDERS)):
            fresh, kept = files_under(scratch / folder), files_under(ROOT / folder)
            different += sorted(
                f"{folder}/{name}" for name in fresh.keys() | kept.keys() if fresh.get(name) != kept.get(name)
            )
        different += [
            str(name)
            for name in (*PAGES, *(CLIENT / name for name in GENERATED_FILES))
            if not (ROOT / name).exists() or (scratch / name).read_bytes() != (ROOT / name).read_bytes()
        ]
        return different


def copy_google_api() -> None:
    """Puts google/api's two protos where buf finds them."""
    import google.api

    target = ROOT / "build" / "include" / "google" / "api"
    target.mkdir(parents=True, exist_ok=True)
    source = Path(next(iter(google.api.__path__)))
    for name in ("annotations.proto", "http.proto"):
        shutil.copyfile(source / name, target / name)


def main() -> int:
    """Generates, or with `--check` compares; returns the exit code."""
    copy_google_api()
    if sys.argv[1:] == ["--check"]:
        stale = drift()
        for name in stale:
            print(f"out of date: {name}", file=sys.stderr)
        if stale:
            print("run `make gen` and commit what it changes", file=sys.stderr)
        return 1 if stale else 0
    generate(ROOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
