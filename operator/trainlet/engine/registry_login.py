"""The user's own logins to registries: the files that `docker login` and `podman login` write, and credential helpers.

What cannot be read is a warning: the image may be had without it. Nothing of what a file or a helper holds is told.
"""

import json
import logging
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainlet.kube.merge import find
from trainlet.planning.image_names import get_registry
from trainlet.planning.pull_secrets import Login, match_logins, read_entries

log = logging.getLogger(__name__)

HELPER_TIMEOUT_SECONDS = 30.0
#: What the Docker Hub is called where logins are kept.
_HUB, _HUB_URL = "docker.io", "https://index.docker.io/v1/"
#: The user name with which a helper gives a token instead of a password.
_TOKEN_USER = "<token>"
_NO_LOGIN = "credentials not found"


class LoginFiles:
    """The files that an engine's own client reads, in its order: the first that has a login for an image counts."""

    def __init__(self, runtime: str, environ: Mapping[str, str], home: Path) -> None:
        self._environ = dict(environ)
        self._paths = find_login_files(runtime, environ, home)

    def find(self, image: str) -> tuple[Login, ...]:
        """Return the logins that fit an image. May run a credential helper."""
        return next((logins for path in self._paths if (logins := self._read(path, image))), ())

    def _read(self, path: Path, image: str) -> tuple[Login, ...]:
        try:
            config = dict(json.loads(path.read_bytes()))
            entries = read_entries(config.get("auths", {}))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no login file"
            log.warning("registry logins of %s are not used: %s", path, reason)
            return ()
        return self._ask_helper(config, image) or match_logins(entries, image)

    def _ask_helper(self, config: Any, image: str) -> tuple[Login, ...]:
        registry = get_registry(image)
        names = (registry, _HUB_URL) if registry == _HUB else (registry,)
        helpers = (find(config, "credHelpers", name) for name in names)
        helper = next(filter(None, helpers), find(config, "credsStore"))
        return self._run_helper(str(helper), names[-1]) if helper else ()

    def _run_helper(self, helper: str, registry: str) -> tuple[Login, ...]:
        program = f"docker-credential-{helper}"
        try:
            done = subprocess.run(
                [program, "get"],
                input=registry.encode(),
                capture_output=True,
                env=self._environ,
                timeout=HELPER_TIMEOUT_SECONDS,
                check=False,
            )
            if done.returncode != 0:
                if _NO_LOGIN not in done.stdout.decode(errors="replace"):
                    log.warning("%s gives no login for %s: it ended with %s", program, registry, done.returncode)
                return ()
            return _read_answer(json.loads(done.stdout))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            log.warning("%s gives no login for %s: %s", program, registry, type(error).__name__)
            return ()


def find_login_files(runtime: str, environ: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Return where logins may be kept (docker-login(1), containers-auth.json(5)), the first to be asked first."""
    dockers = Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if runtime != "podman":
        return (dockers,)
    if chosen := environ.get("REGISTRY_AUTH_FILE"):
        return (Path(chosen),)
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    directories: Sequence[Path] = (*map(Path, filter(None, [environ.get("XDG_RUNTIME_DIR")])), config_home)
    return (*(directory / "containers" / "auth.json" for directory in directories), dockers)


def _read_answer(answer: Mapping[str, str]) -> tuple[Login, ...]:
    username, secret = str(find(answer, "Username") or ""), str(find(answer, "Secret") or "")
    if username == _TOKEN_USER:
        return (Login(identity_token=secret),)
    return (Login(username, secret),) if username and secret else ()
