"""`--status inline`: a job's status as a block in its own manifest, with every other byte left as it is."""

import logging
from pathlib import Path

from trainlet.documents.edit import rewrite_file, splice_block
from trainlet.documents.parse import parse_documents
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import DEFAULT_NAMESPACE, JSON, ObjectKey, get_metadata

log = logging.getLogger(__name__)


def write_inline_status(file: Path, key: ObjectKey, status: JSON) -> None:
    """Put the status into the document of this job; a file that cannot be edited is only warned of."""

    def edit(text: str) -> str:
        for document in parse_documents(text.encode()):
            if _is_job(document.value, key):
                same = document.value.get("status") == status
                return text if same else splice_block(text, document.index, "status", status)
        return text

    try:
        rewrite_file(file, edit)
    except FileNotFoundError:
        return  # the job is being deleted
    except (OSError, TrainletError) as error:
        log.warning("%s: cannot write the status into %s: %s", key, file, error)


def _is_job(document: object, key: ObjectKey) -> bool:
    if not isinstance(document, dict) or document.get("kind") != key.kind:
        return False
    metadata = get_metadata(document)
    return metadata.get("name") == key.name and metadata.get("namespace", DEFAULT_NAMESPACE) == key.namespace
