"""What the name of an image says: which registry has it, under which name, and which of its versions is meant."""

_HUB = "docker.io"
_LATEST = "latest"


def split_image(image: str) -> tuple[str, str]:
    """Return the repository as it is written, and the tag or digest: `latest` where there is neither."""
    repository, at, digest = image.partition("@")
    head, slash, last = repository.rpartition("/")
    name, _, tag = last.partition(":")
    return head + slash + name, digest if at else tag or _LATEST


def get_repository(image: str) -> str:
    """Return the full name of the repository, as a cluster reads it: what names no registry is Docker Hub's."""
    repository, _ = split_image(image)
    host, slash, rest = repository.partition("/")
    if slash and (host == "localhost" or "." in host or ":" in host):
        return f"{_HUB}/{rest}" if host == f"index.{_HUB}" else repository
    return f"{_HUB}/{repository}" if slash else f"{_HUB}/library/{repository}"


def get_registry(image: str) -> str:
    """Return the host, and port if any, of the registry that has the image."""
    return get_repository(image).partition("/")[0]
