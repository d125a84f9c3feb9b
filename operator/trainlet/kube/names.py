"""Kubernetes names, as far as more than admission must know them."""

import re

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)


def is_subdomain(name: object) -> bool:
    """Tell whether this is an RFC 1123 subdomain, and so safe as a file name and an engine name."""
    return isinstance(name, str) and len(name) <= 253 and _SUBDOMAIN.fullmatch(name) is not None


def is_label(name: object) -> bool:
    """Tell whether this is an RFC 1123 label, as namespaces and jobs are called: a subdomain without dots."""
    return is_subdomain(name) and len(str(name)) <= 63 and "." not in str(name)
