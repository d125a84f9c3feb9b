"""An operator by kopf, as somebody might write one: it marks TrainJobs that complete, and holds their deletion."""

import kopf

KIND = ("trainer.kubeflow.org", "v1alpha1", "trainjobs")


@kopf.on.startup()
def begin(settings, **_):
    """Keep what is remembered in annotations, and events to itself."""
    settings.persistence.finalizer = "tests/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="kopf.dev")
    settings.posting.enabled = True


@kopf.on.create(*KIND)
def see(name, patch, body, **_):
    """Mark a new job."""
    patch.metadata.annotations["tests/seen"] = name
    kopf.info(body, reason="Seen", message="an operator has seen it")


@kopf.on.field(*KIND, field="status.conditions")
def judge(new, patch, **_):
    """Mark a job that is complete."""
    if any(each["type"] == "Complete" and each["status"] == "True" for each in new or ()):
        patch.metadata.labels["tests/complete"] = "yes"


@kopf.on.delete(*KIND)
def part(name, **_):
    """Say goodbye before a job goes."""
    print(f"goodbye {name}", flush=True)
