"""What becomes of a JobSet and its Jobs, of the runtime around it, and of the TrainJob itself."""

from typing import Any

from trainlet.admission.portability import (
    HONOURED,
    Fields,
    Place,
    Rule,
    Verdict,
    emulated,
    honoured,
    no_effect,
    only,
    refused,
)
from trainlet.admission.portability_metadata import METADATA
from trainlet.admission.portability_pods import POD_TEMPLATE
from trainlet.admission.portability_volumes import CLAIM_TEMPLATE
from trainlet.apis.trainer import TrainJobSpec
from trainlet.kube.merge import find
from trainlet.planning.initializers import find_source
from trainlet.planning.policies import POLICIES

_NEVER = refused("set restartPolicy: Never in the pod, as Kubernetes asks of such a Job")
_ALL_THE_SAME = no_effect("trainlet runs it all the same")


def _judge_never(value: Any, place: Place) -> Verdict | None:  # noqa: ARG001 - the shape of a judge
    """Judge what Kubernetes takes only where another pod follows a failed one (pkg/apis/batch/validation)."""
    return None if find(place.owners[-1], "template", "spec", "restartPolicy") == "Never" else _NEVER


def _judge_limit_per_index(value: Any, place: Place) -> Verdict:
    return _judge_never(value, place) or HONOURED


def _judge_failed_indexes(value: Any, place: Place) -> Verdict:  # noqa: ARG001 - the shape of a judge
    if place.owners[-1].get("backoffLimitPerIndex") is not None:
        return HONOURED
    return refused("set backoffLimitPerIndex too, as Kubernetes asks")


def _judge_resources(value: Any, place: Place) -> Verdict:  # noqa: ARG001 - the shape of a judge
    if find(place.subject.runtime, "spec", "mlPolicy") is not None:
        return HONOURED
    return no_effect("the runtime has no mlPolicy, and without one a cluster does not look at it either")


def _judge_secret(value: Any, place: Place) -> Verdict | None:  # noqa: ARG001 - the shape of a judge
    """Judge a Secret by the source that it is for."""
    source = find_source(place.owners[-1].get("storageUri") or "")
    how = (
        f"{source.scheme}:// is fetched without a login: of it only the proxies and SSL_CERT_FILE are read"
        if source
        else ""
    )
    return emulated(how) if how else None


_CONDITION = Fields(
    {
        "type": only("DisruptionTarget", otherwise=no_effect("pods get no other condition than DisruptionTarget here")),
        "status": only("True", otherwise=no_effect("a condition that is there is True")),
    },
    is_whole=True,
)
_POD_FAILURE_RULE = Fields(
    {
        "action": HONOURED,
        "onExitCodes": Fields(honoured("containerName", "operator", "values"), is_whole=True),
        "onPodConditions": _CONDITION,
    },
    is_whole=True,
)
_SUCCESS_RULE = Fields(honoured("succeededCount", "succeededIndexes"), is_whole=True)
JOB = Fields(
    {
        **honoured("activeDeadlineSeconds", "backoffLimit", "completions", "parallelism"),
        "backoffLimitPerIndex": _judge_limit_per_index,
        "maxFailedIndexes": _judge_failed_indexes,
        "podFailurePolicy": Fields({"rules": _POD_FAILURE_RULE}, _judge_never, is_whole=True),
        "successPolicy": Fields({"rules": _SUCCESS_RULE}, is_whole=True),
        "completionMode": only("Indexed", otherwise=emulated("the nodes have indexes all the same")),
        "podReplacementPolicy": only(
            "Failed", otherwise=no_effect("a node follows another only when that one has ended")
        ),
        "managedBy": only("kubernetes.io/job-controller", otherwise=_ALL_THE_SAME),
        **dict.fromkeys(("manualSelector", "selector"), no_effect("a Job knows its pods by their names")),
        "suspend": only(False, otherwise=no_effect("the TrainJob says whether its Jobs are suspended")),
        "ttlSecondsAfterFinished": no_effect("Jobs stay as long as their JobSet, which has this field too"),
        "template": POD_TEMPLATE,
    }
)

_NETWORK = Fields(
    {
        "subdomain": HONOURED,
        "enableDNSHostnames": only(True, otherwise=no_effect("the names of the nodes resolve all the same")),
        "publishNotReadyAddresses": only(True, otherwise=no_effect("names resolve before a node is ready")),
    },
    is_whole=True,
)
_FAILURE_RULE = Fields(
    {
        **honoured("name", "onJobFailureMessagePatterns", "onJobFailureReasons", "targetReplicatedJobs"),
        "action": only(
            "FailJobSet",
            "RestartJobSet",
            "RestartJobSetAndIgnoreMaxRestarts",
            otherwise=refused("use RestartJobSet; single Jobs are not restarted"),
        ),
    },
    is_whole=True,
)
_FAILURE_POLICY = Fields(
    {
        "maxRestarts": HONOURED,
        "restartStrategy": only("Recreate", "BlockingRecreate", otherwise=refused("use Recreate or BlockingRecreate")),
        "rules": _FAILURE_RULE,
    },
    is_whole=True,
)
_CLAIMS = Fields(
    {
        "templates": CLAIM_TEMPLATE,
        "retentionPolicy": Fields(honoured("whenDeleted"), is_whole=True),
    }
)
REPLICATED_JOB = Fields(
    {
        **honoured("name", "replicas", "groupName"),
        "dependsOn": Fields(honoured("name", "status"), is_whole=True),
        "template": Fields({"metadata": METADATA, "spec": JOB}),
    }
)
JOBSET = Fields(
    {
        "replicatedJobs": REPLICATED_JOB,
        "network": _NETWORK,
        "successPolicy": Fields(honoured("operator", "targetReplicatedJobs"), is_whole=True),
        "failurePolicy": _FAILURE_POLICY,
        "startupPolicy": Fields(honoured("startupPolicyOrder"), is_whole=True),
        "volumeClaimPolicies": _CLAIMS,
        **honoured("suspend", "ttlSecondsAfterFinished"),
        "managedBy": only("jobset.sigs.k8s.io/jobset-controller", otherwise=_ALL_THE_SAME),
        "coordinator": no_effect("pods are not marked with it yet"),
    }
)
#: A runtime's `spec.template` after the job's patches and policies.
JOBSET_TEMPLATE = Fields({"metadata": METADATA, "spec": JOBSET})

#: A runtime's spec but for its template.
RUNTIME = Fields(
    {
        "mlPolicy": Fields(
            honoured("numNodes", *POLICIES),
            others=refused(f"use a runtime with one of the policies {', '.join(sorted(POLICIES))}, or none"),
            keeps_empty=True,
        ),
        "podGroupPolicy": no_effect("all nodes start together anyway"),
    }
)

_INITIALIZER = Fields(
    {**honoured("storageUri", "env"), "secretRef": Fields(honoured("name"), _judge_secret, is_whole=True)}
)
_TRAINER: dict[str, Rule] = {
    **honoured("image", "command", "args", "env", "numNodes", "numProcPerNode"),
    "resourcesPerNode": _judge_resources,
}
#: A TrainJob's metadata and spec. What its patches change is a part of the JobSet.
TRAIN_JOB = Fields(
    {
        "metadata": METADATA,
        "spec": Fields(
            {
                **honoured("activeDeadlineSeconds", "runtimePatches", "runtimeRef", "suspend"),
                "initializer": Fields({"dataset": _INITIALIZER, "model": _INITIALIZER}),
                "trainer": Fields(_TRAINER),
                "managedBy": only(
                    TrainJobSpec.model_fields["managed_by"].default,
                    otherwise=no_effect("nobody here acts for that controller, and trainlet leaves the job alone"),
                ),
            }
        ),
    }
)
