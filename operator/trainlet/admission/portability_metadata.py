"""What becomes of labels and annotations: those that only another program of a cluster acts on."""

from trainlet.admission.portability import HONOURED, Fields, Keys, Place, Verdict, no_effect, refused

_NO_QUEUE = no_effect("nothing queues jobs here: one that is not suspended begins")
_ONE_MACHINE = no_effect("there is one machine")
_OWN_NAME = no_effect("what is made from a template has a name of its own")
#: By what their keys begin with.
_SPECIAL = {
    "kueue.x-k8s.io/": _NO_QUEUE,
    "scheduling.volcano.sh/queue-name": _NO_QUEUE,
    "alpha.jobset.sigs.k8s.io/exclusive-topology": _ONE_MACHINE,
    "alpha.jobset.sigs.k8s.io/node-selector": _ONE_MACHINE,
    "container.apparmor.security.beta.kubernetes.io/": refused("leave it out; profiles are not carried out"),
}


def _judge_key(key: str, place: Place) -> Verdict:  # noqa: ARG001 - the shape of a judge
    return next((verdict for prefix, verdict in _SPECIAL.items() if key.startswith(prefix)), HONOURED)


_KEYS = Keys(_judge_key)
METADATA = Fields(
    {
        "labels": _KEYS,
        "annotations": _KEYS,
        "name": _OWN_NAME,
        "namespace": _OWN_NAME,
        "finalizers": no_effect("nobody here waits for them"),
    }
)
