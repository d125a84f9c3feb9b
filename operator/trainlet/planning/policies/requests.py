"""What the pods of a job ask of a cluster in all, as pod groups say it (k8s.io/component-helpers/resource)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.kube.quantity import parse_quantity
from trainlet.planning.runtime import Info, PodSet

_DECIMAL = {-3: "n", -2: "u", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P", 6: "E"}
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


@dataclass(frozen=True)
class Amount:
    """An exact amount, and whether it is written in powers of 1024."""

    value: Fraction
    is_binary: bool

    def __str__(self) -> str:
        """Write the amount in the one form that Kubernetes stores (apimachinery pkg/api/resource)."""
        return _write_binary(ceil(self.value)) if self.is_binary and self.value >= 1024 else _write_decimal(self.value)


Amounts = dict[str, Amount]


def sum_requests(info: Info) -> JSON:
    """Return the requests of all pods of a job together, by resource."""
    total: Amounts = {}
    for pod_set in info.pod_sets:
        pod = {name: Amount(a.value * pod_set.count, a.is_binary) for name, a in _sum_pod(pod_set).items()}
        total = _merge(total, pod, _add)
    return {name: str(amount) for name, amount in total.items()}


def _sum_pod(pod_set: PodSet) -> Amounts:
    """Return what one pod needs at its most: its containers together, or an init container that needs more."""
    running = _sum(_read_requests(container) for container in pod_set.containers)
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in pod_set.init_containers:
        own = _read_requests(container)
        if container.get("restartPolicy") == "Always":
            sidecars = own = _merge(sidecars, own, _add)
        else:
            own = _merge(sidecars, own, _add)
        starting = _merge(starting, own, _max)
    needed = _merge(_merge(running, sidecars, _add), starting, _max)
    overhead = find(pod_set.wire, "template", "spec", "template", "spec", "overhead")
    return _merge(needed, _read_amounts(overhead), _add)


def _read_requests(container: JSON) -> Amounts:
    return _read_amounts(find(container, "resources", "requests"))


def _read_amounts(amounts: Mapping[str, str | int | float] | None) -> Amounts:
    return {name: Amount(parse_quantity(text), str(text).endswith("i")) for name, text in (amounts or {}).items()}


def _sum(each: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for amounts in each:
        total = _merge(total, amounts, _add)
    return total


def _merge(one: Amounts, other: Amounts, join: Callable[[Amount, Amount], Amount]) -> Amounts:
    return {**one, **{name: join(one[name], amount) if name in one else amount for name, amount in other.items()}}


def _add(one: Amount, other: Amount) -> Amount:
    return Amount(one.value + other.value, one.is_binary if one.value else other.is_binary)


def _max(one: Amount, other: Amount) -> Amount:
    return other if other.value > one.value else one


def _write_binary(number: int) -> str:
    power = 0
    while number % 1024 == 0 and power < len(_BINARY) - 1:
        number, power = number // 1024, power + 1
    return f"{number}{_BINARY[power]}"


def _write_decimal(value: Fraction) -> str:
    number, power = ceil(value * 10**9), -3
    while number % 1000 == 0 and power < max(_DECIMAL):
        number, power = number // 1000, power + 1
    return f"{number}{_DECIMAL[power]}" if number else "0"
