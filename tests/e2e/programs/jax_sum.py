"""Sums numbers that lie on different processes with JAX over gloo; runs inside the frameworks test image.

Every process brings its number plus one. Prints the sum as each process got it.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def main() -> None:
    """Take part in the sum as the process that the environment names."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator_address=os.environ["JAX_COORDINATOR_ADDRESS"],
        num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
        process_id=int(os.environ["JAX_PROCESS_ID"]),
    )
    rank, world = jax.process_index(), jax.process_count()
    mesh = Mesh(np.array(jax.devices()), ("processes",))
    mine = np.full(jax.local_device_count(), rank + 1.0, dtype=np.float32)
    numbers = jax.make_array_from_process_local_data(NamedSharding(mesh, PartitionSpec("processes")), mine)
    total = jax.jit(jnp.sum, out_shardings=NamedSharding(mesh, PartitionSpec()))(numbers)
    assert len(jax.devices()) == world, "one CPU device a process"
    assert float(total) == world * (world + 1) / 2, f"wrong sum {total}"
    print(f"process {rank} of {world} sum {float(total):g}", flush=True)
    jax.distributed.shutdown()  # waits for the others: who leaves early aborts them


if __name__ == "__main__":
    main()
