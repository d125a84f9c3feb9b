"""A JobSet as it is applied -> the JobSet with what a cluster fills in, as far as somebody here reads it.

The JobSet webhook's and definition's defaults (kubernetes-sigs/jobset pkg/webhooks/jobset_webhook.go), and those that
a Job and its pods get when they are made from the templates (kubernetes pkg/apis/batch/v1 and core/v1, defaults.go).
Two are left out: imagePullPolicy, where the operator's own option has the word, and what places pods on nodes.
"""

from collections.abc import Callable, Mapping
from typing import Any

from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON

#: The API server's for a Job that gives each index a limit of its own.
_NO_LIMIT = 2**31 - 1
_POD = ("template", "spec", "template", "spec")
_NETWORK: JSON = {"enableDNSHostnames": True, "publishNotReadyAddresses": True}
_POD_SPEC: JSON = {"restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 30, "securityContext": {}}
_PROBE: JSON = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_PROBES = ("readinessProbe", "startupProbe", "livenessProbe")
_SOURCE: JSON = {"defaultMode": 0o644}
#: The volume sources that make files with a mode.
_FILES = ("configMap", "secret", "projected", "downwardAPI")


def default_jobset(jobset: JSON) -> JSON:
    """Return the JobSet with its defaults; one that has them already is not changed."""
    spec = _fill(
        jobset["spec"],
        {"successPolicy": {"operator": "All"}, "startupPolicy": {"startupPolicyOrder": "AnyOrder"}, "suspend": False},
    )
    spec["network"] = _fill(spec.get("network"), _NETWORK)
    spec["replicatedJobs"] = [_default_replicated_job(rjob) for rjob in spec.get("replicatedJobs") or []]
    if spec.get("failurePolicy") is not None:
        spec["failurePolicy"] = _default_failure_policy(spec["failurePolicy"])
    if spec.get("volumeClaimPolicies"):
        spec["volumeClaimPolicies"] = [_default_claims(policy) for policy in spec["volumeClaimPolicies"]]
    return {**jobset, "spec": spec}


def _fill(given: Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> JSON:
    """Return a map with the defaults of the keys that it lacks, after its own; a null is a lack."""
    kept = {key: value for key, value in (given or {}).items() if value is not None}
    return {**kept, **{key: value for key, value in defaults.items() if key not in kept}}


def _default_failure_policy(policy: JSON) -> JSON:
    rules = [_fill(rule, {"name": f"failurePolicyRule{n}"}) for n, rule in enumerate(policy.get("rules") or [])]
    filled = _fill(policy, {"restartStrategy": "Recreate", "maxRestarts": 0})
    return {**filled, "rules": rules} if rules else filled


def _default_claims(policy: JSON) -> JSON:
    return {**policy, "retentionPolicy": _fill(policy.get("retentionPolicy"), {"whenDeleted": "Delete"})}


def _default_replicated_job(rjob: JSON) -> JSON:
    filled = _fill(rjob, {"replicas": 1, "groupName": "default"})
    filled = put(filled, ("template", "spec"), _default_job(find(rjob, "template", "spec") or {}))
    return put(filled, _POD, _default_pod(find(rjob, *_POD) or {}))


def _default_job(spec: JSON) -> JSON:
    parallelism = 1 if spec.get("parallelism") is None else spec["parallelism"]
    rules = find(spec, "podFailurePolicy", "rules")
    return _fill(
        put(spec, ("podFailurePolicy", "rules"), [_default_pod_failure_rule(rule) for rule in rules])
        if rules
        else spec,
        {
            "parallelism": parallelism,
            "completions": parallelism,  # the template may say one alone; an Indexed Job needs both
            "completionMode": "Indexed",
            "backoffLimit": 6 if spec.get("backoffLimitPerIndex") is None else _NO_LIMIT,
            "podReplacementPolicy": "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed",
        },
    )


def _default_pod_failure_rule(rule: JSON) -> JSON:
    patterns = [_fill(pattern, {"status": "True"}) for pattern in rule.get("onPodConditions") or []]
    return {**rule, "onPodConditions": patterns} if patterns else rule


def _default_pod(spec: JSON) -> JSON:
    edits: dict[str, Callable[[JSON], JSON]] = {
        "containers": _default_container,
        "initContainers": _default_container,
        "volumes": _default_volume,
    }
    lists = {key: [edit(item) for item in spec[key]] for key, edit in edits.items() if spec.get(key)}
    return {**_fill(spec, _POD_SPEC), **lists}


def _default_container(container: JSON) -> JSON:
    probes = {key: _default_probe(container[key]) for key in _PROBES if container.get(key) is not None}
    ports = [_fill(port, {"protocol": "TCP"}) for port in container.get("ports") or []]
    resources = _default_resources(container.get("resources"))
    return {
        **_fill(container, {}),
        **probes,
        **({"ports": ports} if ports else {}),
        **({"resources": resources} if resources else {}),
    }


def _default_resources(resources: JSON | None) -> JSON | None:
    """Ask for as much as is allowed, where nothing else is asked for."""
    limits = find(resources, "limits")
    if not resources or not limits:
        return resources
    return {**resources, "requests": _fill(resources.get("requests"), limits)}


def _default_probe(probe: JSON) -> JSON:
    # A zero is what Go has where nothing is given, so it is the default's too.
    filled = _fill({key: value for key, value in probe.items() if value != 0 or key not in _PROBE}, _PROBE)
    if filled.get("httpGet") is not None:
        filled["httpGet"] = _fill(filled["httpGet"], {"path": "/", "scheme": "HTTP"})
    return filled


def _default_volume(volume: JSON) -> JSON:
    given = {key: value for key, value in volume.items() if value is not None}
    if set(given) == {"name"}:
        return {**given, "emptyDir": {}}
    return {key: _fill(value, _SOURCE) if key in _FILES else value for key, value in given.items()}
