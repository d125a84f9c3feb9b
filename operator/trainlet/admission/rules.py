"""Judges the rules (x-kubernetes-validations) that the definitions carry.

Follows apiextensions-apiserver pkg/apiserver/schema/cel. A rule about the old value is judged only where a value
stood before that is known to be the same one, unless the rule says that it can do without.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from trainlet.admission.cel import ABSENT, Budget, BudgetError, CelResult, EvaluationError
from trainlet.admission.crd import Crd
from trainlet.admission.rule_tree import Check, Expression, Node, build_tree, check_patterns
from trainlet.admission.rule_values import get_identity
from trainlet.kube.errors import FieldError
from trainlet.kube.meta import JSON

INVALID = "Invalid value"
MOST_ERRORS = 100

# Kubernetes takes no longer text from a messageExpression.
_LONGEST_MESSAGE_BYTES = 5 * 1024


def check_crd(crd: Crd) -> None:
    """Compile all rules and patterns of a definition. Raises UsageError, which says where one cannot be used."""
    build_tree(crd)
    check_patterns(crd)


def validate_rules(new: JSON, old: JSON | None, crd: Crd) -> list[FieldError]:
    """Find every rule that an object breaks, alone or as a change of `old`.

    Both must be defaulted and pruned, and `new` must have passed validate_schema. Raises UsageError if the
    definition would not pass check_crd.
    """
    tree = build_tree(crd)
    if tree is None:
        return []
    errors: list[FieldError] = []
    for error in islice(_judge(tree, new, old, "", Budget()), MOST_ERRORS + 1):
        errors.append(error)
        if error.detail == BudgetError.TEXT:
            break
    if len(errors) > MOST_ERRORS:
        more = f"more than {MOST_ERRORS} rules are broken, no further validation rules will be run"
        errors[MOST_ERRORS:] = [FieldError("", "Too many", more, stage="cel")]
    return errors


def _judge(node: Node, new: Any, old: Any, path: str, budget: Budget) -> Iterator[FieldError]:
    if new is None:
        return
    for check in node.checks:
        # Null is no value that a rule could compare with.
        if old is not None or check.optional_old or not check.expression.rule.uses_old:
            yield from _apply(check, new, ABSENT if old is None else old, path, budget)
    if isinstance(new, dict):
        yield from _judge_object(node, new, old if isinstance(old, dict) else {}, path, budget)
    elif isinstance(new, list) and node.items:
        previous = _index_items(old, node)
        for index, item in enumerate(new):
            old_item = previous.get(get_identity(item, node.keys)) if previous else None
            yield from _judge(node.items, item, old_item, f"{path}[{index}]", budget)


def _judge_object(node: Node, new: JSON, old: JSON, path: str, budget: Budget) -> Iterator[FieldError]:
    for name, value in new.items():
        if name in node.properties:
            child = f"{path}.{name}" if path else name
            yield from _judge(node.properties[name], value, old.get(name), child, budget)
        elif node.extra:
            yield from _judge(node.extra, value, old.get(name), f"{path}[{name}]", budget)


def _index_items(old: Any, node: Node) -> dict[str, Any]:
    # Only items of a map can be told to be "the same one as before".
    if not isinstance(old, list) or not node.keys:
        return {}
    return {get_identity(item, node.keys): item for item in old}


def _apply(check: Check, new: Any, old: Any, path: str, budget: Budget) -> Iterator[FieldError]:
    try:
        if _evaluate(check.expression, new, old, budget) is not True:
            yield _refuse(check, new, path, _get_message(check, new, old, budget))
    except BudgetError as error:
        yield FieldError(path, INVALID, str(error), _show(new), stage="cel")
    except EvaluationError as error:
        yield FieldError(path, INVALID, _explain(error, check), _show(new), stage="cel")


def _evaluate(expression: Expression, new: Any, old: Any, budget: Budget) -> CelResult:
    rule, convert = expression.rule, expression.convert
    old_value = convert(old) if rule.uses_old and old is not ABSENT else ABSENT
    return rule.evaluate(convert(new), old_value, budget)


def _refuse(check: Check, new: Any, path: str, message: str) -> FieldError:
    if check.blames_name:
        name = new["metadata"].get("name", "") if isinstance(new.get("metadata"), dict) else ""
        return FieldError(f"{path}.metadata.name".lstrip("."), check.error_type, message, name, stage="cel")
    return FieldError(f"{path}{check.path}".lstrip("."), check.error_type, message, _show(new), stage="cel")


def _get_message(check: Check, new: Any, old: Any, budget: Budget) -> str:
    if check.message_expression is None:
        return check.message
    try:
        result = _evaluate(check.message_expression, new, old, budget)
    except EvaluationError:
        return check.message  # the rule is broken all the same
    text = result.strip() if isinstance(result, str) else ""
    is_fit = text and "\n" not in text and len(text.encode()) <= _LONGEST_MESSAGE_BYTES
    return text if is_fit else check.message


def _explain(error: EvaluationError, check: Check) -> str:
    if str(error) == "no such overload":
        wrong = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'{error}': {wrong}: {check.summary}"
    return f"{error} evaluating rule: {check.summary}"


def _show(value: Any) -> Any:
    """A scalar itself; of a larger value only its type, as the API server prints it."""
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else value
