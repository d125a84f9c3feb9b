"""A Secret's manifest may have its values as text, which the API shows as base64 only. Pure."""

import base64
import binascii

from trainlet.kube.meta import JSON


def follow_secret(written: JSON, revised: JSON, stored: JSON, wanted: JSON) -> JSON:
    """Return a changed manifest with every entry in that field that it was written in; text wins over base64.

    What is `stored` and not `wanted` any more is in neither.
    """
    old, data = written.get("data") or {}, dict(revised.get("data") or {})
    gone = (stored.get("data") or {}).keys() - {*(wanted.get("data") or {}), *(wanted.get("stringData") or {})}
    told = {key: text for key, text in (revised.get("stringData") or {}).items() if key not in gone}
    for key in list(told):
        if key in data and data[key] != old.get(key):
            text = _decode(data[key])
            if text is None:
                told.pop(key, None)
            else:
                told[key] = text
                del data[key]
    fields = {"data": data, "stringData": told}
    rest = {name: value for name, value in revised.items() if name not in fields}
    return {**rest, **{name: value for name, value in fields.items() if value}}


def _decode(value: object) -> str | None:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
