"""Which initializers trainlet's own program serves, and what their containers are then."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.apis.core_v1 import Container
from trainlet.engine.process_launch import build_launch
from trainlet.planning.initializers import (
    InitializerOptions,
    find_host_path,
    find_source,
    get_image,
    rewrite,
)
from trainlet.planning.specs import ContainerSpec, File, Limits, Mount, Tmpfs, VolumeMount

DATASET, MODEL = "dataset-initializer", "model-initializer"
OPTIONS = InitializerOptions(image="python:3", program=b"the program", cache_dir="/var/cache/trainlet")
HTTPS = "https://example.org/mnist.tar.gz"
WORKSPACE = Mount("/srv/workspaces/default/mnist", "/workspace")
PROGRAM = File("/trainlet/fetch.pyz", b"the program")
CACHE = Mount("/var/cache/trainlet", "/cache")


def build_container(uri: str = HTTPS, name: str = DATASET, **fields: Any) -> Container:
    return Container.of({"name": name, "image": "upstream:1", "env": [{"name": "STORAGE_URI", "value": uri}], **fields})


def build_spec(uri: str = HTTPS, **env: str) -> ContainerSpec:
    return ContainerSpec(
        name="mnist-dataset-initializer-0",
        image="upstream:1",
        env={"STORAGE_URI": uri, **env},
        labels={"a": "b"},
        mounts=(WORKSPACE,),
        limits=Limits(memory_bytes=1 << 30),
        user="1000",
        working_dir="/app",
        network="mnist-net",
        address="10.0.0.2",
    )


def serve(spec: ContainerSpec, uri: str = HTTPS) -> ContainerSpec:
    """Rewrite what must be rewritten."""
    served = rewrite(spec, build_container(uri), DATASET, OPTIONS)
    assert served.image == "python:3"
    return served


SOURCES = {
    HTTPS: ("https", None),
    "HTTPS://example.org/a": ("https", None),
    "https://": ("https", None),
    "file:///data/mnist": ("file", "/data/mnist"),
    "File://localhost/data/mnist/": ("file", "/data/mnist/"),
    "file:/data": ("file", "/data"),
    "file:///data/a%20b%3F": ("file", "/data/a b?"),
    "file:///data/../etc": ("file", "/data/../etc"),
    "file://host/data": ("file", None),
    "file://data": ("file", None),
    "file:data": ("file", None),
    "file:///data?x": ("file", None),
    "file:///data#x": ("file", None),
    "file:///a%00b": ("file", None),
    "file://[data": ("file", None),
}


@pytest.mark.parametrize(("uri", "expected"), SOURCES.items())
def test_what_the_program_fetches(uri: str, expected: tuple[str, str | None]) -> None:
    source = find_source(uri)
    assert source is not None
    assert (source.uri, source.scheme, source.host_path) == (uri, *expected)
    assert find_host_path(uri) == expected[1]


OTHERS = ("", "hf://org/name", "s3://bucket/key", "cache://schema/table", "http://example.org/a", "/data", "ftp://h/f")


@pytest.mark.parametrize("uri", OTHERS)
def test_what_it_does_not_fetch(uri: str) -> None:
    assert find_source(uri) is None
    assert find_host_path(uri) is None
    spec = build_spec(uri)
    assert rewrite(spec, build_container(uri), DATASET, OPTIONS) is spec
    assert get_image(build_container(uri), DATASET, OPTIONS) == "upstream:1"


@given(st.text())
def test_no_text_breaks_the_judgement(uri: str) -> None:
    source = find_source(uri)
    assert source is None or uri.lower().startswith(f"{source.scheme}:")
    path = find_host_path(f"file://{uri}")
    assert path is None or path.startswith("/")


def test_a_download() -> None:
    assert serve(build_spec()) == replace(
        build_spec(),
        image="python:3",
        command=("python3", "-I", "/trainlet/fetch.pyz"),
        args=(HTTPS, "/workspace/dataset", "--cache", "/cache"),
        files=(PROGRAM,),
        mounts=(WORKSPACE, CACHE),
        working_dir=None,
    )


def test_a_model_goes_to_its_own_directory() -> None:
    served = rewrite(build_spec(), build_container(name=MODEL), MODEL, OPTIONS)
    assert served.args == (HTTPS, "/workspace/model", "--cache", "/cache")


def test_a_directory_of_the_machine_is_mounted_once_it_was_judged() -> None:
    uri = "file:///data/my%20set"
    served = serve(build_spec(uri), uri)
    assert served.args == (uri, "/workspace/dataset", "--cache", "/cache", "--at", "/source")
    assert served.mounts == (WORKSPACE, CACHE, Mount("/data/my set", "/source", read_only=True, host_path_type=""))


def test_a_path_that_is_none_is_left_to_the_program_to_refuse() -> None:
    served = serve(build_spec("file://data"), "file://data")
    assert served.args == ("file://data", "/workspace/dataset", "--cache", "/cache")
    assert served.mounts == (WORKSPACE, CACHE)


def test_patterns_are_one_word_even_if_they_look_like_an_option() -> None:
    served = serve(build_spec(IGNORE_PATTERNS="--cache,*.bin"))
    assert served.args == (HTTPS, "/workspace/dataset", "--cache", "/cache", "--ignore=--cache,*.bin")


def test_the_source_is_what_the_environment_came_to() -> None:
    container = build_container("https://$(HOST)/a")
    served = rewrite(build_spec("https://example.org/a"), container, DATASET, OPTIONS)
    assert served.args is not None
    assert served.args[0] == "https://example.org/a"


NOT_SERVED = {
    "its own command": (build_container(command=["fetch-it"]), DATASET),
    "another container of the pod": (build_container(name="sidecar"), DATASET),
    "a trainer": (build_container(name="node"), "trainer"),
    "a container that is called like an ancestor": (build_container(), "trainer"),
    "a step of another name": (build_container(name="my-initializer"), "my-initializer"),
    "no source": (Container.of({"name": DATASET, "image": "upstream:1"}), DATASET),
    "the last source counts": (
        Container.of(
            {
                "name": DATASET,
                "image": "upstream:1",
                "env": [{"name": "STORAGE_URI", "value": HTTPS}, {"name": "STORAGE_URI", "value": "hf://a/b"}],
            }
        ),
        DATASET,
    ),
}


@pytest.mark.parametrize(("container", "ancestor"), NOT_SERVED.values(), ids=NOT_SERVED)
def test_what_is_left_alone(container: Container, ancestor: str) -> None:
    spec = build_spec()
    assert rewrite(spec, container, ancestor, OPTIONS) is spec
    assert get_image(container, ancestor, OPTIONS) == container.image


def test_the_image_is_known_before_there_is_a_spec() -> None:
    assert get_image(build_container(), DATASET, OPTIONS) == "python:3"


def test_of_the_environment_only_what_the_program_reads_is_left() -> None:
    kept = {
        "STORAGE_URI": HTTPS,
        "IGNORE_PATTERNS": "*.bin",
        "HTTP_PROXY": "http://proxy:1",
        "HTTPS_PROXY": "http://proxy:2",
        "NO_PROXY": "example.com",
        "https_proxy": "http://proxy:3",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
    }
    dropped = dict.fromkeys(
        ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PATH", "HOME", "ACCESS_TOKEN"), "x"
    )
    assert serve(build_spec(**{**kept, **dropped})).env == kept


CERTIFICATES = "/certificates"
PLACED = {
    "in the workspace": ("/workspace/ca.pem", (), "/workspace/ca.pem", ()),
    "in the image": ("/etc/ssl/ca.pem", (), "/etc/ssl/ca.pem", ()),
    "a file": ("/tls/ca.pem", (File("/tls/ca.pem", b"ca"),), CERTIFICATES, (File(CERTIFICATES, b"ca"),)),
    "a directory of the machine": (
        "/usr/lib/tls/deep/ca.pem",
        (Mount("/srv/tls", "/usr/lib/tls/", host_path_type="Directory"),),
        "/certificates/deep/ca.pem",
        (Mount("/srv/tls", CERTIFICATES, read_only=True, host_path_type="Directory"),),
    ),
    "a volume": (
        "/tls/ca.pem",
        (VolumeMount("tls", "/tls"),),
        "/certificates/ca.pem",
        (VolumeMount("tls", CERTIFICATES, read_only=True),),
    ),
    "the nearest of several": (
        "/tls/own/ca.pem",
        (VolumeMount("all", "/tls"), VolumeMount("own", "/tls/own")),
        "/certificates/ca.pem",
        (VolumeMount("own", CERTIFICATES, read_only=True),),
    ),
    "a name that only begins like it": ("/tls2/ca.pem", (VolumeMount("tls", "/tls"),), "/tls2/ca.pem", ()),
    "on a detour": ("/tls/../usr/ca.pem", (VolumeMount("tls", "/tls"),), "/tls/../usr/ca.pem", ()),
}
Item = File | Mount | VolumeMount


@pytest.mark.parametrize(("path", "mounted", "placed", "left"), PLACED.values(), ids=PLACED)
def test_a_certificate_is_brought_to_where_no_program_is(
    path: str, mounted: tuple[Item, ...], placed: str, left: tuple[Item, ...]
) -> None:
    spec = replace(
        build_spec(SSL_CERT_FILE=path),
        files=tuple(item for item in mounted if isinstance(item, File)),
        mounts=(WORKSPACE, *(item for item in mounted if isinstance(item, Mount))),
        volumes=tuple(item for item in mounted if isinstance(item, VolumeMount)),
    )
    served = serve(spec)
    assert served.env["SSL_CERT_FILE"] == placed
    items: tuple[Item, ...] = (*served.files, *served.mounts, *served.volumes)
    assert tuple(item for item in items if item not in (WORKSPACE, CACHE, PROGRAM)) == left


@pytest.mark.parametrize(
    "target", ["/usr/local/lib", "/trainlet", "/cache", "/source", "/", "/workspaces", "/workspace/../usr", "usr"]
)
def test_nothing_is_mounted_over_the_program(target: str) -> None:
    spec = replace(
        build_spec(),
        files=(File(f"{target}/x", b""),),
        mounts=(WORKSPACE, Mount("/srv/evil", target, host_path_type="")),
        volumes=(VolumeMount("evil", target),),
        tmpfs=(Tmpfs(target),),
    )
    served = serve(spec)
    assert (served.files, served.mounts, served.volumes, served.tmpfs) == ((PROGRAM,), (WORKSPACE, CACHE), (), ())


def test_what_is_mounted_in_the_workspace_stays() -> None:
    volume, memory = VolumeMount("initializer-mnist", "/workspace"), Tmpfs("/workspace/model", 1 << 20)
    served = serve(replace(build_spec(), mounts=(), volumes=(volume,), tmpfs=(memory,)))
    assert (served.mounts, served.volumes, served.tmpfs) == ((CACHE,), (volume,), (memory,))


def test_the_program_is_not_written_down() -> None:
    assert "the program" not in repr(OPTIONS)
    assert "the program" not in str(serve(build_spec()).with_hash().to_json())


def test_as_a_process_it_works_on_the_directories_themselves() -> None:
    uri = "file:///data/set"
    served = serve(build_spec(uri), uri)
    mounted = replace(served, mounts=(*served.mounts, Mount("/state/node/fetch.pyz", PROGRAM.path)))
    launch = build_launch(mounted, node="n", environ={"PATH": "/bin"}, own_directory=Path("/state/node"))
    assert launch.argv == (
        *("python3", "-I", "/state/node/fetch.pyz", uri, "/srv/workspaces/default/mnist/dataset"),
        *("--cache", "/var/cache/trainlet", "--at", "/data/set"),
    )
