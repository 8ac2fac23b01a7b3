"""The edge's configuration file: strict, meaningful, and acceptable to Envoy."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from chassis.config import ConfigError
from cli.stack_config import AUDIENCE
from edge.config import SERVICES, Cluster, bootstrap, load
from tests.unit.edge_support import DESCRIPTOR, ROOT

ENVOY: Final = Path(sys.executable).parent / "envoy"
DEPLOYED: Final = sorted(
    path for path in (ROOT / "deploy").rglob("*.yaml") if "static_resources:" in path.read_text("utf-8")
)
MANAGER: Final = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"


def document() -> dict[str, Any]:
    """A bootstrap as `sealgate up` writes it."""
    return bootstrap(
        host="127.0.0.1",
        port=8080,
        sockets={name: Path(f"/run/sealgate/{name}.sock") for name in SERVICES},
        descriptor=DESCRIPTOR,
        audience="sealgate",
    )


def manager(bootstrap_document: dict[str, Any]) -> dict[str, Any]:
    """The connection manager in a bootstrap."""
    found = bootstrap_document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    return found["typed_config"]  # type: ignore[no-any-return]


def cluster(bootstrap_document: dict[str, Any], index: int = 0) -> dict[str, Any]:
    """A cluster in a bootstrap."""
    return bootstrap_document["static_resources"]["clusters"][index]  # type: ignore[no-any-return]


def write(path: Path, bootstrap_document: dict[str, Any]) -> Path:
    """The bootstrap as a file."""
    path.write_text(yaml.safe_dump(bootstrap_document), encoding="utf-8")
    return path


def assert_envoy_accepts(path: Path) -> None:
    """Real Envoy reads the file, as it would be run from the top of the repository."""
    done = subprocess.run(
        [ENVOY, "--mode", "validate", "-c", path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: path.name)
def test_deployed_bootstrap_is_accepted_by_envoy_and_edge(path: Path) -> None:
    """Every bootstrap under deploy/ is one that real Envoy and the edge both read."""
    load(path)
    assert_envoy_accepts(path)


def test_deployed_bootstraps_include_the_reference_file() -> None:
    """The search for bootstraps finds the one that the documentation names."""
    assert ROOT / "deploy" / "edge.yaml" in DEPLOYED


def test_written_bootstrap_is_accepted_by_envoy_and_edge(tmp_path: Path) -> None:
    """What `sealgate up` writes is what real Envoy and the edge both read."""
    path = write(tmp_path / "edge.yaml", document())
    load(path)
    assert_envoy_accepts(path)


def test_reference_file_is_what_bootstrap_writes() -> None:
    """deploy/edge.yaml says what `up` would with its data in .sealgate, so neither falls behind."""
    written = bootstrap(
        host="127.0.0.1",
        port=8080,
        sockets={name: Path(f".sealgate/sockets/{name}.sock") for name in SERVICES},
        descriptor=Path("gen/sealgate.binpb"),
        audience=AUDIENCE,
    )
    assert yaml.safe_load((ROOT / "deploy" / "edge.yaml").read_text("utf-8")) == written


def test_services_are_all_that_have_rest_paths() -> None:
    """No service with a google.api.http mapping is left out of what is served."""
    files = FileDescriptorSet.FromString(DESCRIPTOR.read_bytes()).file
    mapped = {
        f"{file.package}.{service.name}"
        for file in files
        for service in file.service
        if any(method.options.HasExtension(annotations_pb2.http) for method in service.method)
    }
    assert {service for services in SERVICES.values() for service in services} == mapped


def test_bootstrap_means_what_the_documentation_says(tmp_path: Path) -> None:
    """Each member of the file arrives where docs/edge-config.md says it does."""
    changed = document()
    manager(changed).update(
        max_request_headers_kb=16,
        xff_num_trusted_hops=2,
        request_headers_timeout="0.5s",
        common_http_protocol_options={"idle_timeout": "30s"},
    )
    filters = [item["typed_config"] for item in manager(changed)["http_filters"]]
    filters[0]["max_request_bytes"] = 1000
    filters[1]["grpc_service"] = {"envoy_grpc": {"cluster_name": "keys"}, "timeout": "1.5s"}
    manager(changed)["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["timeout"] = "3s"
    cluster(changed)["circuit_breakers"]["thresholds"][0]["max_requests"] = 7
    cluster(changed)["connect_timeout"] = "0.25s"
    changed["node"]["metadata"]["sealgate"] = {"audience": "north.example", "log_level": "debug"}

    config = load(write(tmp_path / "edge.yaml", changed))

    assert (config.host, config.port) == ("127.0.0.1", 8080)
    assert (config.headers_max_bytes, config.body_max_bytes) == (16 * 1024, 1000)
    assert (config.headers_timeout_seconds, config.idle_timeout_seconds) == (0.5, 30)
    assert config.trusted_hops_count == 2
    assert (config.exchange_cluster, config.exchange_timeout_seconds) == ("keys", 1.5)
    assert config.route_of("sealgate.auth.v1.SessionService").timeout_seconds == 3
    assert config.route_of("sealgate.wallet.v1.WalletService").cluster == "wallet"
    assert config.clusters["auth"] == Cluster("auth", "unix:/run/sealgate/auth.sock", 7, 0.25)
    assert (config.audience, config.log_level) == ("north.example", "debug")


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ({"pipe": {"path": "/run/a.sock"}}, "unix:/run/a.sock"),
        ({"socket_address": {"address": "127.0.0.1", "port_value": 9000}}, "127.0.0.1:9000"),
        ({"socket_address": {"address": "::1", "port_value": 9000}}, "[::1]:9000"),
    ],
)
def test_cluster_address_becomes_a_grpc_target(tmp_path: Path, address: object, target: str) -> None:
    """A cluster is reached over a Unix socket or the loopback interface."""
    changed = document()
    cluster(changed)["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = address
    assert load(write(tmp_path / "edge.yaml", changed)).clusters["auth"].target == target


Change = Callable[[dict[str, Any]], object]
ADDRESS: Final = "static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address"


def set_address(changed: dict[str, Any], address: object) -> None:
    """Puts the first cluster elsewhere."""
    cluster(changed)["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = address


def transcoder(changed: dict[str, Any]) -> dict[str, Any]:
    """The transcoder in a bootstrap."""
    return manager(changed)["http_filters"][2]["typed_config"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.update(admin={}), "admin: unknown field"),
        (lambda d: manager(d).update(codec_type="AUTO"), f"{MANAGER}.codec_type: unknown field"),
        (
            lambda d: d["static_resources"]["listeners"][0]["filter_chains"][0].update(transport_socket={}),
            "static_resources.listeners[0].filter_chains[0].transport_socket: unknown field",
        ),
        (
            lambda d: transcoder(d).update(auto_mapping=True),
            f"{MANAGER}.http_filters[2].typed_config.auto_mapping: unknown field",
        ),
        (lambda d: manager(d)["http_filters"].pop(), f"{MANAGER}.http_filters[3]: Field required"),
        (lambda d: manager(d)["http_filters"].reverse(), f"{MANAGER}.http_filters[0].typed_config"),
        (lambda d: manager(d).pop("max_request_headers_kb"), f"{MANAGER}.max_request_headers_kb: Field"),
        (lambda d: manager(d).update(max_request_headers_kb="32"), f"{MANAGER}.max_request_headers_kb"),
        (lambda d: manager(d).update(max_request_headers_kb=True), f"{MANAGER}.max_request_headers_kb"),
        (lambda d: manager(d).update(use_remote_address=False), f"{MANAGER}.use_remote_address"),
        (lambda d: manager(d).update(request_headers_timeout="0s"), f"{MANAGER}.request_headers_timeout"),
        (lambda d: manager(d).update(request_headers_timeout="5m"), f"{MANAGER}.request_headers_timeout"),
        (lambda d: manager(d).update(request_headers_timeout=5), f"{MANAGER}.request_headers_timeout"),
        (lambda d: cluster(d).update(type="EDS"), "static_resources.clusters[0].type"),
        (lambda d: cluster(d, 1).update(name="auth"), "static_resources.clusters[1].name: another cluster"),
        (
            lambda d: cluster(d)["load_assignment"].update(cluster_name="keys"),
            "static_resources.clusters[0].load_assignment.cluster_name",
        ),
        (lambda d: d["static_resources"]["clusters"].pop(), "there is no cluster named wallet"),
        (lambda d: set_address(d, {}), f"{ADDRESS}: write either pipe or socket_address"),
        (
            lambda d: set_address(d, {"socket_address": {"address": "10.0.0.1", "port_value": 1}}),
            f"{ADDRESS}.socket_address.address: must be a loopback address",
        ),
        (lambda d: transcoder(d).update(services=[]), f"{MANAGER}.http_filters[2].typed_config.services"),
        (lambda d: transcoder(d)["services"].append("sealgate.keys.v1.ApiKeyService"), "is named twice"),
        (lambda d: transcoder(d)["services"].append("other.v1.Service"), "no route has a prefix"),
        (
            lambda d: d["node"]["metadata"]["sealgate"].update(audience="A B"),
            "node.metadata.sealgate.audience",
        ),
        (
            lambda d: d["node"]["metadata"]["sealgate"].update(color="red"),
            "node.metadata.sealgate.color: unkn",
        ),
    ],
)
def test_bootstrap_is_refused_with_the_path_of_what_is_wrong(
    tmp_path: Path, change: Change, complaint: str
) -> None:
    """A member that means nothing, or not that, is refused by its path in the file."""
    changed = copy.deepcopy(document())
    change(changed)
    path = write(tmp_path / "edge.yaml", changed)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert refused.value.path == str(path)
    assert complaint in refused.value.message


@pytest.mark.parametrize("text", ["", "[]", "a: [", "\tx: 1", "null"])
def test_file_is_refused_when_it_is_no_bootstrap(tmp_path: Path, text: str) -> None:
    """Anything that is no YAML mapping is a configuration error, never a crash."""
    path = tmp_path / "edge.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        load(path)


def test_file_is_refused_when_it_is_missing(tmp_path: Path) -> None:
    """A missing file is named."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")
