"""The formats that the API server knows: those of kube-openapi's strfmt that a definition may use.

Each accepts what the Go function behind it accepts, which is not always what the standard says.
"""

import re
from collections.abc import Callable
from datetime import date
from ipaddress import ip_address
from typing import Any
from unicodedata import category

Predicate = Callable[[Any], bool]

_INT32, _INT64 = 2**31, 2**63
_LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127

_HEX = "[0-9a-fA-F]"
_UUID = rf"{_HEX}{{8}}-?{_HEX}{{4}}-?%s{_HEX}{{3}}-?%s{_HEX}{{3}}-?{_HEX}{{12}}"
_RFC4122 = "[89abAB]"
_OCTET = "(?:0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])"
_CARD = (
    "4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9]{2})[0-9]{12}|3[47][0-9]{13}"
    "|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11}"
)
# Patterns hold on to what they took (`++`) where a long text could else take long.
_NAME = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_QUANTITY = r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]++)?"

_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})")
_GO_DURATION = re.compile(r"[-+]?(?:0|(?:(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:ns|us|µs|μs|ms|s|m|h))++)")
_SCALA_DURATION = re.compile(r"\s*+(?:[0-9]++\s*+[A-Za-zµ]++\s*+)++", re.ASCII)
_UNIT = re.compile(r"[A-Za-zµ]+")
_UNITS = frozenset({"ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"})
_UNIT_WORDS = ("nano", "micro", "milli", "sec", "min", "hour", "day", "week")

# Of one label the second character alone may be a dash; so the API server has it.
_X = "[a-zA-Z0-9]"
_HOSTNAME = re.compile(rf"{_X}-?{_X}*|(?:{_X}(?:[a-zA-Z0-9-]*{_X})?\.)+{_X}(?:-?{_X})+")
_LONGEST_HOSTNAME, _LONGEST_LABEL = 255, 63

_ATOM = r"[^\x00-\x20\x7f()<>\[\]:;@\\,.\"]++"
_LOCAL = rf'(?:{_ATOM}(?:\.{_ATOM})*|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])++")'
_ADDRESS = rf"{_LOCAL}@(?:{_ATOM}(?:\.{_ATOM})*|\[[^\[\]\\\x00-\x20]+\])"
_PHRASE = rf'(?:[ \t]*+(?:{_ATOM}\.?|"(?:[^"\\\x00-\x1f]|\\.)*+"))*+[ \t]*+'
_EMAIL = re.compile(rf"{_ADDRESS}|{_PHRASE}<{_ADDRESS}>")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_AUTHORITY = re.compile(r"(?:[^@/?#]*@)?(?:\[[0-9A-Fa-f:.]+(?:%25[^\]]+)?\]|[^\s<>\"\[\]^`{|}\\:@/?#]*)(?::[0-9]*)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")


def find_format(name: str, value_type: str) -> Predicate | None:
    """Find the predicate of a format on values of this type; what a type does not know is ignored.

    Without a type, the value's own decides, and only texts have formats.
    """
    expected = _NUMERIC.get(name, "string")
    return FORMATS.get(name.replace("-", "")) if (value_type or "string") == expected else None


def _matches(pattern: str) -> Predicate:
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def _is_date(text: str) -> bool:
    if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_date_time(text: str) -> bool:
    day, _, clock = text.lower().partition("t")
    found = _CLOCK.fullmatch(clock)
    if found is None or not _is_date(day):
        return False
    hour, minute, second = found.groups()
    return hour <= "23" and minute <= "59" and second <= "59"


def _is_duration(text: str) -> bool:
    """Accept what Go's time.ParseDuration reads, and what Scala would: `22 ns`, `3 weeks`."""
    if _GO_DURATION.fullmatch(text):
        return True
    # One unit that is known is enough upstream.
    units = map(str.lower, _UNIT.findall(text)) if _SCALA_DURATION.fullmatch(text) else ()
    return any(unit in _UNITS or unit.startswith(_UNIT_WORDS) for unit in units)


def _is_ip(text: str, mark: str) -> bool:
    # Go counts `::ffff:10.0.0.1` as both versions, and takes no zone.
    try:
        ip_address(text)
    except ValueError:
        return False
    return mark in text and "%" not in text


def _is_cidr(text: str) -> bool:
    address, _, bits = text.partition("/")
    is_v6 = ":" in address
    if not _is_ip(address, ":" if is_v6 else "."):
        return False
    return re.fullmatch("[0-9]{1,5}", bits) is not None and int(bits) <= (128 if is_v6 else 32)


def _is_mac(text: str) -> bool:
    """Accept 6, 8 or 20 octets, in pairs or in groups of two, as Go's net.ParseMAC does."""
    pairs = rf"{_HEX}{{2}}(?:(?P<by>[:-]){_HEX}{{2}})(?:(?P=by){_HEX}{{2}})*"
    if not re.fullmatch(rf"{pairs}|{_HEX}{{4}}(?:\.{_HEX}{{4}})+", text):
        return False
    return len(re.sub("[:.-]", "", text)) in (12, 16, 40)


def _is_isbn10(text: str) -> bool:
    digits = re.sub(r"[\s-]+", "", text)
    if not re.fullmatch("[0-9]{9}[0-9X]", digits):
        return False
    return sum(weight * ("0123456789X".index(digit)) for weight, digit in enumerate(digits, 1)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    digits = re.sub(r"[\s-]+", "", text)
    if not re.fullmatch("[0-9]{13}", digits):
        return False
    return sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits)) % 10 == 0


def _is_isbn(text: str) -> bool:
    return _is_isbn10(text) or _is_isbn13(text)


def _is_credit_card(text: str) -> bool:
    digits = re.sub("[^0-9]+", "", text)
    if not re.fullmatch(_CARD, digits):
        return False
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _is_hostname(text: str) -> bool:
    if len(text.encode()) > _LONGEST_HOSTNAME:
        return False
    # Letters and symbols of every script count as letters.
    plain = "".join("a" if category(character)[0] in "LS" else character for character in text)
    return bool(_HOSTNAME.fullmatch(plain)) and all(len(label.encode()) <= _LONGEST_LABEL for label in text.split("."))


def _is_uri(text: str) -> bool:
    """Accept what Go's url.ParseRequestURI reads: an absolute URI or an absolute path."""
    if not text or re.search(r"[\x00-\x1f\x7f]", text):
        return False
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    if not rest.startswith("/"):
        return bool(scheme) or text == "*"
    authority, slash, path = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or (not scheme and rest.startswith("///")):
        authority, path = "", rest
    authority = authority.partition("?")[0]
    return bool(_AUTHORITY.fullmatch(authority)) and not _BAD_ESCAPE.search((slash + path).partition("?")[0])


_NUMERIC = {"int32": "integer", "int64": "integer", "float": "number", "double": "number"}

#: Name without dashes -> whether a value of the right type is one.
FORMATS: dict[str, Predicate] = {
    "bsonobjectid": _matches(f"{_HEX}{{24}}"),
    "byte": _matches("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})"),
    "cidr": _is_cidr,
    "creditcard": _is_credit_card,
    "date": _is_date,
    "datetime": _is_date_time,
    "double": lambda _: True,
    "duration": _is_duration,
    "email": lambda text: _EMAIL.fullmatch(text.strip(" \t")) is not None,
    "float": lambda number: abs(number) <= _LARGEST_FLOAT32,
    "hexcolor": _matches(f"#?(?:{_HEX}{{3}}|{_HEX}{{6}})"),
    "hostname": _is_hostname,
    "int32": lambda number: -_INT32 <= number < _INT32,
    "int64": lambda number: -_INT64 <= number < _INT64,
    "ipv4": lambda text: _is_ip(text, "."),
    "ipv6": lambda text: _is_ip(text, ":"),
    "isbn": _is_isbn,
    "isbn10": _is_isbn10,
    "isbn13": _is_isbn13,
    "k8slongname": lambda text: len(text) <= 253 and bool(re.fullmatch(rf"{_NAME}(\.{_NAME})*", text)),
    "k8sshortname": lambda text: len(text) <= 63 and bool(re.fullmatch(_NAME, text)),
    "mac": _is_mac,
    "password": lambda _: True,
    "quantity": _matches(_QUANTITY),
    "rgbcolor": _matches(rf"rgb\(\s*{_OCTET}\s*,\s*{_OCTET}\s*,\s*{_OCTET}\s*\)"),
    "ssn": _matches("[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}"),
    "uri": _is_uri,
    "uuid": _matches(_UUID % (_HEX, _HEX)),
    "uuid3": _matches(_UUID % ("3", _HEX)),
    "uuid4": _matches(_UUID % ("4", _RFC4122)),
    "uuid5": _matches(_UUID % ("5", _RFC4122)),
}
