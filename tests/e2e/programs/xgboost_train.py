"""Trains boosted trees on scikit-learn's digits with XGBoost's collective; runs inside the frameworks test image.

As users of XGBoost on clusters do it: rank 0 also runs the tracker, at the address that the DMLC_* variables give.
Every worker has its share of the rows. Prints the test accuracy and a hash of the model, which all workers share.
"""

import hashlib
import os

import xgboost
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from xgboost import collective
from xgboost.tracker import RabitTracker

PARAMETERS = {"objective": "multi:softmax", "num_class": 10, "max_depth": 4, "eta": 0.3, "nthread": 1, "seed": 0}


def train() -> None:
    """Train this worker's share and judge the model on rows that no worker had."""
    rank, world = collective.get_rank(), collective.get_world_size()
    inputs, test_inputs, labels, test_labels = train_test_split(
        *load_digits(return_X_y=True), test_size=0.2, random_state=0
    )
    mine = slice(rank, None, world)
    model = xgboost.train(PARAMETERS, xgboost.DMatrix(inputs[mine], labels[mine]), num_boost_round=20)
    accuracy = (model.predict(xgboost.DMatrix(test_inputs)) == test_labels).mean()
    digest = hashlib.sha256(model.save_raw("json")).hexdigest()[:16]
    print(f"worker {rank} of {world} accuracy {accuracy:.4f} model {digest}", flush=True)


def main() -> None:
    """Work as the worker that the environment names, and be the tracker too if it is the first one."""
    task, workers = os.environ["DMLC_TASK_ID"], int(os.environ["DMLC_NUM_WORKER"])
    host, port = os.environ["DMLC_TRACKER_URI"], int(os.environ["DMLC_TRACKER_PORT"])
    tracker = None
    if task == "0":
        tracker = RabitTracker(host_ip="0.0.0.0", port=port, n_workers=workers)
        tracker.start()
    # The tracker may be late; a worker's first connection is tried over again for as long as this.
    with collective.CommunicatorContext(
        dmlc_tracker_uri=host, dmlc_tracker_port=port, dmlc_task_id=task, dmlc_retry=10, dmlc_timeout=30
    ):
        train()
    if tracker is not None:
        tracker.wait_for()


if __name__ == "__main__":
    main()
