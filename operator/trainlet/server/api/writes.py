"""The verbs that change objects, over the files of the watched directory, which stay the only truth.

A write is judged as a file would be, put into the directory as a person would write it, and taken in from there by
whoever follows the directory. What manifests do not say (kube/kept.py) is stored beside them, by the registry.
"""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from trainlet.admission.admit import Admitted
from trainlet.admission.core_kinds import OBJECT_KINDS, SECRET
from trainlet.apis.trainer import RUNTIME_KINDS, TRAIN_JOB
from trainlet.kept_objects import find_deletion
from trainlet.kube.errors import ApiError, FieldError, TrainletError
from trainlet.kube.kept import find_kept, keep, strip
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey, format_time, get_metadata
from trainlet.kube.rebase import rebase
from trainlet.planning.labels import JOBSET_NAME
from trainlet.planning.status import is_finished
from trainlet.registry import Registry
from trainlet.server.api.bodies import (
    build_refusal,
    check_body,
    check_finalizers,
    check_preconditions,
    check_size,
    check_version,
    conflict,
    forbidden,
    invalid,
    not_allowed,
    refuse,
    require_version,
    taken,
)
from trainlet.server.api.drafts import Change, Drafter, complete_name
from trainlet.server.api.manifests import Edited, Files, Manifests
from trainlet.server.api.patching import apply_object, patch_object, read_declared
from trainlet.server.api.secret_text import follow_secret
from trainlet.server.api.tellings import complete_event
from trainlet.server.api.types import (
    DeleteOptions,
    PatchType,
    Resource,
    WriteOptions,
    Written,
    not_found,
)

EVENT, POD = "Event", "Pod"
_IN_FILES = frozenset({TRAIN_JOB, *RUNTIME_KINDS, *OBJECT_KINDS})
_MOST_DOCUMENTS = 20
_HIDING = "it is built in, or comes from a runtime source: apply a manifest of its name, which hides it"


class DirectoryWriter:
    """Writes objects into one directory; one write at a time. See `Writer`.

    `wake` is called with a job that has to be looked at, `remove_pod` with a pod whose containers are to go.
    """

    def __init__(
        self,
        registry: Registry,
        manifests: Manifests,
        files: Files,
        wake: Callable[[ObjectKey], None],
        remove_pod: Callable[[JSON], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._registry, self._manifests, self._files = registry, manifests, files
        self._wake, self._remove_pod, self._clock = wake, remove_pod, clock
        self._drafter, self._lock = Drafter(registry, clock), threading.RLock()
        registry.hold_finalized()

    # Verbs

    def create(self, resource: Resource, namespace: str, body: JSON, options: WriteOptions) -> Written:
        """Make an object. Raises ApiError: 409 AlreadyExists, 422 Invalid, 400 BadRequest, 405 MethodNotAllowed."""
        with self._writing(resource, str(get_metadata(body).get("name", "")), "create", body):
            body = complete_name(check_body(resource, namespace, body), lambda each: self._is_taken(resource, each))
            name = str(get_metadata(body).get("name") or "")
            if get_metadata(body).get("resourceVersion"):
                raise refuse("resourceVersion should not be set on objects to be created")
            key = resource.key(namespace, name)
            if (there := self._registry.store.get(key)) is not None:
                remedy = _HIDING if self._registry.is_base(key) else ""
                is_going = bool(get_metadata(there).get("deletionTimestamp"))
                raise taken(resource, name, is_going=is_going, remedy=remedy)
            if resource.kind == EVENT:
                return self._tell(resource, None, body, options)
            return self._write(Change(resource, key, None, body, options))

    def update(self, resource: Resource, namespace: str, name: str, body: JSON, options: WriteOptions) -> Written:
        """Put an object in the place of the one that is there. Raises ApiError: 404, 409 Conflict, 422."""
        with self._writing(resource, name, "update", body):
            key, old = self._get(resource, namespace, name)
            body = check_body(resource, namespace, body, name)
            require_version(resource, name, body)
            return self._change(Change(resource, key, old, body, options))

    def patch(
        self, resource: Resource, namespace: str, name: str, type: PatchType, body: object, options: WriteOptions
    ) -> Written:
        """Change parts of an object; server-side apply makes it if it is not there. Raises ApiError."""
        with self._writing(resource, name, "patch", body):
            if type is PatchType.APPLY:
                return self._apply(resource, namespace, name, body, options)
            key, old = self._get(resource, namespace, name)
            new = check_body(resource, namespace, patch_object(resource, old, type, body), name)
            return self._change(Change(resource, key, old, new, options))

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions) -> JSON:
        """Delete an object and return it as it is now. Raises ApiError."""
        with self._writing(resource, name, "delete"):
            key, old = self._get(resource, namespace, name)
            check_preconditions(resource, old, options)
            if resource.kind == TRAIN_JOB and options.propagation == "Orphan":
                raise forbidden(resource, name, "nothing can go on here without its TrainJob: delete it with the rest")
            if self._registry.is_base(key):
                raise forbidden(resource, name, f"it cannot be deleted, {_HIDING}")
            if options.is_dry_run:
                return old
            return self._delete_pod(key, old, options) if resource.kind == POD else self._delete(key, old)

    # What all have in common

    @contextmanager
    def _writing(self, resource: Resource, name: str, verb: str, body: object = None) -> Iterator[None]:
        """Let one in at a time, and make a refusal of whatever goes wrong."""
        if verb not in resource.verbs:
            raise not_allowed(resource)
        check_size(body)
        try:
            with self._lock:
                yield
        except TrainletError as error:
            raise build_refusal(resource, name, error) from error

    def _get(self, resource: Resource, namespace: str, name: str) -> tuple[ObjectKey, JSON]:
        """Return the key of an object and the object, after what its file says now. Raises RequestError (404)."""
        key = resource.key(namespace, name)
        if resource.kind in _IN_FILES and (source := self._files.find_source(key)) is not None:
            self._files.catch_up(Path(source.file))
        stored = self._registry.store.get(key)
        if stored is None:
            raise not_found(resource, name)
        return key, stored

    def _delete_pod(self, key: ObjectKey, pod: JSON, options: DeleteOptions) -> JSON:
        """Let a pod end as it wishes and another come in its place; of one that is over, only its containers go."""
        job = ObjectKey(TRAIN_JOB, key.namespace, str(find(pod, "metadata", "labels", JOBSET_NAME)))
        is_over = is_finished((self._registry.store.get(job) or {}).get("status") or {})
        if is_over or find(pod, "status", "phase") == "Succeeded":
            self._remove_pod(pod)
            return self._show_removed(pod)
        pod = self._registry.delete_pod(key)
        if options.grace_seconds == 0:
            self._remove_pod(pod)
        self._wake(job)
        return pod

    def _show_removed(self, pod: JSON) -> JSON:
        """Return a removed pod without its uid: the one that comes in its place may have it, and clients would wait."""
        metadata = {name: value for name, value in get_metadata(pod).items() if name != "uid"}
        now = format_time(self._clock())
        return {**pod, "metadata": {**metadata, "deletionTimestamp": now}}

    def _is_taken(self, resource: Resource, body: JSON) -> bool:
        key = resource.key(str(get_metadata(body).get("namespace", "")), str(get_metadata(body)["name"]))
        return self._registry.store.get(key) is not None or self._files.find_source(key) is not None

    def _change(self, change: Change) -> Written:
        """Carry out a change of what is there."""
        resource, old = change.resource, change.old or {}
        check_version(resource, old, change.new)
        check_finalizers(resource, old, change.new)
        if resource.kind == EVENT:
            return self._tell(resource, old, change.new, change.options)
        if change.options.subresource:
            return self._write_status(change)
        if self._registry.is_base(change.key):
            return self._hide(change)
        return self._write(change)

    def _hide(self, change: Change) -> Written:
        """Let a manifest hide a runtime that none holds, if that is what is declared."""
        name = change.key.name
        declared = read_declared(change.resource, name, change.new)
        if declared is None:
            raise forbidden(change.resource, name, f"it cannot be changed, {_HIDING}")
        return self._write(Change(change.resource, change.key, None, declared, change.options))

    def _apply(self, resource: Resource, namespace: str, name: str, body: Any, options: WriteOptions) -> Written:
        if not isinstance(body, dict):
            raise refuse("error decoding patch: an applied configuration is an object")
        config = check_body(resource, namespace, body, name)
        if resource.kind not in _IN_FILES:
            raise not_allowed(resource)
        key = resource.key(namespace, name)
        old = None if self._registry.is_base(key) else self._registry.store.get(key)
        if old is not None:
            _, old = self._get(resource, namespace, name)
        elif options.subresource or get_metadata(config).get("uid"):
            raise not_found(resource, name)
        schema = self._registry.get_definition(key).schema
        new, owners = apply_object(resource, old, config, options, schema, format_time(self._clock()))
        change = Change(resource, key, old, new, options, owners)
        return self._write(change) if old is None else self._change(change)

    # Main writes

    def _write(self, change: Change) -> Written:
        """Judge a change and carry it out."""
        key, old = change.key, change.old
        new, warnings = self._drafter.prune(change)
        admitted = self._registry.judge(new, old, validation="ignore")
        preview = self._drafter.preview(change, admitted.document)
        written = Written(preview, old is None, (*warnings, *admitted.warnings))
        if change.options.is_dry_run:
            return written
        if old is not None and get_metadata(old).get("deletionTimestamp"):
            stored = self._let_go(change, preview)
        elif old is None or strip(new) != strip(old):
            stored = self._put(change, new, admitted, preview)
        else:
            stored = old
        if not admitted.replaces and _get_beside(stored) != _get_beside(preview):
            stored = self._registry.put_metadata(key, get_metadata(preview))
            self._wake_job(key)
        return Written(stored, written.is_new, written.warnings)

    def _put(self, change: Change, new: JSON, admitted: Admitted, preview: JSON) -> JSON:
        """Bring a change into the directory, and from there into the store."""
        key, source = change.key, self._files.find_source(change.key)
        view = _flatten(strip(new))

        def revise(written: JSON) -> JSON:
            if change.old is None:
                return {**view, "metadata": {**_find_namespace(written), **get_metadata(view)}}
            revised: JSON = rebase(written, strip(change.old), view)
            if key.kind == SECRET:
                revised = follow_secret(written, revised, change.old, view)
            return revised if self._says(revised, change, admitted) else view

        if source is None and change.old is not None:
            raise _without_manifest()
        with self._registry.intending(key, get_metadata(preview)):  # others may see the file before we do
            if source is None:
                edited = self._manifests.create(key, view)
            else:
                edited = self._manifests.edit(source, key, revise)
            return self._take_in(key, edited, preview, is_replaced=admitted.replaces)

    def _says(self, manifest: JSON, change: Change, admitted: Admitted) -> bool:
        """Tell whether a manifest means what was admitted."""
        try:
            kept = keep(manifest, get_metadata(admitted.document))
            return self._registry.judge(kept, change.old).document == admitted.document
        except ApiError:
            return False

    def _take_in(self, key: ObjectKey, edited: Edited, preview: JSON, *, is_replaced: bool) -> JSON:
        """Have a changed file taken in; put it back as it was if it does not become what is wanted."""
        try:
            problem = self._files.take_in(edited.path, key)
            stored = self._registry.store.get(key)
            if stored is not None and (is_replaced or strip(stored) == strip(preview)):
                return stored
            what = f"the manifest was not taken: {problem or 'it was changed by somebody else meanwhile'}"
            raise ApiError(what, code=409, reason="Conflict", where=str(edited.path), remedy="try again")
        except BaseException:
            edited.undo()
            self._files.catch_up(edited.path)
            raise

    # Status, deletion, events

    def _write_status(self, change: Change) -> Written:
        """Store a client's status; of the rest of its object nothing is taken."""
        old, status = change.old or {}, change.new.get("status") or {}
        if not isinstance(status, dict):
            raise refuse("status is not an object")
        status = self._registry.judge_status(old, status)
        before, managed = get_metadata(old), self._drafter.track_status(change, status)
        metadata = {**before, **({"managedFields": managed} if managed else {})}
        if status == (old.get("status") or {}) and managed == (before.get("managedFields") or []):
            return Written(old)
        if change.options.is_dry_run:
            return Written({**old, "status": status, "metadata": metadata})
        return Written(self._registry.put_status(change.key, status, metadata))

    def _let_go(self, change: Change, preview: JSON) -> JSON:
        """Change an object that is on its way out: what its manifest would say is said no more."""
        key, old = change.key, change.old or {}
        if strip(preview).get("spec") != strip(old).get("spec"):
            raise conflict(change.resource, key.name, "the object is being deleted")
        stored = self._registry.put_metadata(key, get_metadata(preview))
        if key.kind == TRAIN_JOB:
            self._wake(key)
        elif not get_metadata(stored).get("finalizers"):
            self._remove(key)
        return stored

    def _delete(self, key: ObjectKey, old: JSON) -> JSON:
        if key.kind not in _IN_FILES:
            raise ApiError("it cannot be deleted", code=405, reason="MethodNotAllowed")
        if get_metadata(old).get("deletionTimestamp"):
            return old
        if key.kind != TRAIN_JOB and get_metadata(old).get("finalizers"):
            return self._registry.mark_deleted(key)
        self._remove(key)
        if key.kind == TRAIN_JOB:
            return self._registry.store.get(key) or old
        return old

    def _remove(self, key: ObjectKey) -> None:
        """Take an object out of every file that has it, and so out of the store."""
        for _ in range(_MOST_DOCUMENTS):
            if (source := self._files.find_source(key)) is None:
                break
            self._files.take_in(self._manifests.remove(source, key).path, key)
        if not self._is_gone(key):
            self._files.take_in(self._manifests.root, key)
        if not self._is_gone(key):
            raise _without_manifest()
        self._wake_job(key)

    def _is_gone(self, key: ObjectKey) -> bool:
        """Tell whether an object is deleted, or about to be; the runtime that it hid is another one."""
        stored = self._registry.store.get(key)
        return stored is None or (key.kind == TRAIN_JOB and bool(find_deletion(stored))) or self._registry.is_base(key)

    def _wake_job(self, key: ObjectKey) -> None:
        if key.kind == TRAIN_JOB:
            self._wake(key)

    def _tell(self, resource: Resource, old: JSON | None, body: JSON, options: WriteOptions) -> Written:
        """Store an event."""
        metadata = get_metadata(body)
        if not metadata.get("name"):
            cause = FieldError("metadata.name", "Required value", "name or generateName is required")
            raise invalid(resource, "", [cause])
        now = self._clock()
        born = {"uid": str(uuid.uuid4()), "creationTimestamp": format_time(now)} if old is None else {}
        named = {**{k: v for k, v in metadata.items() if k != "resourceVersion"}, **born}
        event = complete_event(resource, {**body, "metadata": named}, now)
        if options.is_dry_run:
            return Written(event, old is None)
        return Written(self._registry.put_event(event), old is None)


def _without_manifest() -> ApiError:
    what, remedy = "its manifest is missing or cannot be read", "see errors.yaml in the status directory"
    return ApiError(what, code=409, reason="Conflict", remedy=remedy)


def _get_beside(document: JSON) -> JSON:
    """Return what of an object no manifest says."""
    return {**find_kept(get_metadata(document)), **find_deletion(document)}


def _find_namespace(written: JSON) -> JSON:
    """Return the namespace of a manifest as its metadata has it, if it does."""
    metadata = get_metadata(written)
    return {"namespace": metadata["namespace"]} if "namespace" in metadata else {}


def _flatten(document: JSON) -> JSON:
    """Return a document of plain JSON alone."""
    plain: JSON = json.loads(json.dumps(document))
    return plain
