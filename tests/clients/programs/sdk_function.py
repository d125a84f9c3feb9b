"""A function of the Kubeflow SDK's user in the containers of two nodes, which speak with each other by name."""

from kubeflow.trainer import CustomTrainer, KubernetesBackendConfig, TrainerClient
from kubeflow.trainer.options import Name


def meet(port):
    """Say hello to the other node, or be greeted."""
    import os
    import socket
    import time

    host, rank = os.environ["HOSTNAME"], os.environ["JOB_COMPLETION_INDEX"]
    if rank == "0":
        with socket.create_server(("0.0.0.0", port)) as server:
            connection, _ = server.accept()
            print(f"{host} is greeted by {connection.recv(100).decode()}", flush=True)
        return
    first = host[: -len("-1")] + "-0"
    for _ in range(300):
        try:
            with socket.create_connection((first, port), 1) as connection:
                connection.sendall(rank.encode())
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("nobody is there")


client = TrainerClient(backend_config=KubernetesBackendConfig())
trainer = CustomTrainer(func=meet, func_args={"port": 7777}, num_nodes=2)
name = client.train(runtime="plain", trainer=trainer, options=[Name("meeting")])
job = client.wait_for_job_status(name, timeout=60, polling_interval=1)
print("steps", [(step.name, step.status) for step in job.steps])
assert list(client.get_job_logs(name)) == [f"{name}-node-0-0 is greeted by 1"], list(client.get_job_logs(name))
client.delete_job(name)
