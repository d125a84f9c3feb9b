"""Adds up numbers that lie on different ranks with MPI; runs inside the frameworks test image, under mpirun.

Every rank brings its number plus one. Rank 0 prints the sum and the hosts, in the order of the ranks.
"""

from mpi4py import MPI


def main() -> None:
    """Take part in the sum as this rank."""
    world = MPI.COMM_WORLD
    total = world.allreduce(world.rank + 1)
    hosts = world.gather(MPI.Get_processor_name())
    assert total == world.size * (world.size + 1) // 2, f"wrong sum {total}"
    if hosts is not None:
        print(f"{world.size} ranks on {' '.join(hosts)} sum {total}", flush=True)


if __name__ == "__main__":
    main()
