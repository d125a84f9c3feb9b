"""Train a small neural network on handwritten digits, on as many nodes as WORLD_SIZE says. Standard library only.

Every rank holds a shard of the pictures. At each step the ranks add up their gradients over TCP through rank 0 and
take the same step, so that their weights stay equal bit by bit. RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT
say who is who; without them it trains alone. It knows nothing of trainlet.
"""

import argparse
import csv
import gzip
import hashlib
import json
import math
import os
import random
import socket
import sys
import time
from array import array
from collections.abc import Mapping, Sequence
from operator import mul
from pathlib import Path
from typing import NamedTuple

PIXELS, HIDDEN, DIGITS = 64, 32, 10
#: One flat list holds all weights: the hidden rows, their biases, the output rows, their biases.
SIZES = (PIXELS * HIDDEN, HIDDEN, HIDDEN * DIGITS, DIGITS)
SEED = 1797
BATCH, RATE, MOMENTUM = 32, 0.05, 0.9
TEST_SHARE = 0.2
RENDEZVOUS_SECONDS, STEP_SECONDS = 60.0, 60.0
#: What a rank sends first, followed by its number, so that a stranger on the port is not taken for one.
GREETING = b"digits"

Row = Sequence[float]


class Picture(NamedTuple):
    """One picture: pixels from 0 to 1, and the digit it shows."""

    pixels: Row
    digit: int


class TrainingError(Exception):
    """A problem outside this program, as `what happened (where): what to do`."""


if sys.version_info >= (3, 12):
    from math import sumprod as dot
else:

    def dot(one: Row, other: Row) -> float:
        """Return the scalar product."""
        total: float = sum(map(mul, one, other))
        return total


# --- the data ---


def read_pictures(path: Path) -> tuple[list[Picture], list[Picture]]:
    """Read the pictures and split them into those to train on and those to test with, the same on every rank."""
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        rows = [[float(cell) for cell in row] for row in csv.reader(file)]
    pictures = [Picture(tuple(pixel / 16 for pixel in row[:PIXELS]), int(row[PIXELS])) for row in rows]
    random.Random(SEED).shuffle(pictures)
    cut = round(len(pictures) * (1 - TEST_SHARE))
    return pictures[:cut], pictures[cut:]


# --- the network ---


class Network:
    """The weights, laid out for scalar products: one row for each neuron."""

    def __init__(self, weights: Row) -> None:
        hidden, self.hidden_bias, output, self.output_bias = cut(weights, SIZES)
        self.hidden = cut(hidden, (PIXELS,) * HIDDEN)
        self.output = cut(output, (HIDDEN,) * DIGITS)

    def activate(self, pixels: Row) -> list[float]:
        """Return what the hidden neurons say."""
        sums = zip(self.hidden, self.hidden_bias, strict=True)
        return [max(0.0, dot(row, pixels) + bias) for row, bias in sums]

    def judge(self, activation: Row) -> list[float]:
        """Return the probability of each digit."""
        scores = [dot(row, activation) + bias for row, bias in zip(self.output, self.output_bias, strict=True)]
        highest = max(scores)
        powers = [math.exp(score - highest) for score in scores]
        total = sum(powers)
        return [power / total for power in powers]


def cut(values: Row, sizes: Sequence[int]) -> list[Row]:
    """Cut a row into pieces of these sizes."""
    pieces, start = [], 0
    for size in sizes:
        pieces.append(values[start : start + size])
        start += size
    return pieces


def build_weights() -> list[float]:
    """Draw the first weights, the same on every rank: spread by the number of inputs, biases zero."""
    draw = random.Random(SEED).gauss
    deviations = (math.sqrt(2 / PIXELS), 0.0, math.sqrt(2 / HIDDEN), 0.0)
    return [draw(0, deviation) for size, deviation in zip(SIZES, deviations, strict=True) for _ in range(size)]


def compute_gradient(network: Network, batch: Sequence[Picture]) -> tuple[float, list[float]]:
    """Return the loss and its gradient, both summed over the batch."""
    if not batch:
        return 0.0, [0.0] * sum(SIZES)
    activations = [network.activate(picture.pixels) for picture in batch]
    guesses = [network.judge(activation) for activation in activations]
    loss = -sum(math.log(guess[picture.digit] + 1e-12) for guess, picture in zip(guesses, batch, strict=True))
    for guess, picture in zip(guesses, batch, strict=True):
        guess[picture.digit] -= 1  # from here on it is the error of the output neurons
    into_output = list(zip(*network.output, strict=True))
    errors = [
        [dot(row, guess) if active else 0.0 for row, active in zip(into_output, activation, strict=True)]
        for guess, activation in zip(guesses, activations, strict=True)
    ]
    hidden, hidden_bias = _correlate(errors, [picture.pixels for picture in batch])
    output, output_bias = _correlate(guesses, activations)
    return loss, [*hidden, *hidden_bias, *output, *output_bias]


def _correlate(errors: Sequence[Row], inputs: Sequence[Row]) -> tuple[list[float], list[float]]:
    """Return the gradient of one layer's rows, flat, and of its biases."""
    by_neuron, by_input = list(zip(*errors, strict=True)), list(zip(*inputs, strict=True))
    return [dot(error, given) for error in by_neuron for given in by_input], [sum(error) for error in by_neuron]


def measure_accuracy(network: Network, pictures: Sequence[Picture]) -> float:
    """Return the share of pictures whose digit gets the highest probability."""
    guesses = (network.judge(network.activate(picture.pixels)) for picture in pictures)
    hits = [guess.index(max(guess)) == picture.digit for guess, picture in zip(guesses, pictures, strict=True)]
    return sum(hits) / len(hits)


# --- the other ranks ---


class Group:
    """All ranks. Rank 0 has a connection to every other one, each other one to rank 0."""

    def __init__(self, rank: int, size: int, address: str, port: int) -> None:
        self.rank, self.size = rank, size
        if rank == 0:
            self._peers = gather_ranks(size, address, port) if size > 1 else {}
        else:
            self._peers = {0: find_rank_zero(rank, address, port)}

    def add_up(self, values: Row) -> Row:
        """Return the sum of all ranks' values, the same to the last bit on each of them."""
        own = array("d", values)
        if self.rank:
            self._send(0, own)
            return self._receive(0, len(own))
        parts = [own, *(self._receive(rank, len(own)) for rank in sorted(self._peers))]
        total = array("d", map(sum, zip(*parts, strict=True)))
        for rank in self._peers:
            self._send(rank, total)
        return total

    def _send(self, rank: int, values: "array[float]") -> None:
        try:
            self._peers[rank].sendall(values.tobytes())
        except OSError as error:
            raise build_loss(rank, str(error)) from error

    def _receive(self, rank: int, count: int) -> "array[float]":
        values = array("d", bytes(8 * count))
        room = memoryview(values).cast("B")
        while room:
            try:
                received = self._peers[rank].recv_into(room)
            except OSError as error:
                raise build_loss(rank, str(error)) from error
            if not received:
                raise build_loss(rank, "it closed the connection")
            room = room[received:]
        return values


def build_loss(rank: int, why: str) -> TrainingError:
    """Build the error for a rank that can no longer be reached."""
    return TrainingError(f"rank {rank} is lost ({why}): its own log says why it ended")


def gather_ranks(size: int, address: str, port: int) -> dict[int, socket.socket]:
    """Wait until every other rank has connected. Raises TrainingError."""
    deadline = time.monotonic() + RENDEZVOUS_SECONDS
    peers: dict[int, socket.socket] = {}
    try:
        with socket.create_server((address, port), backlog=size) as server:
            while len(peers) < size - 1:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                connection, _ = server.accept()
                rank = read_greeting(connection)
                if 0 < rank < size and rank not in peers:
                    peers[rank] = connection
                else:
                    connection.close()
    except TimeoutError:
        missing = sorted(set(range(1, size)) - set(peers))
        raise TrainingError(f"ranks {missing} did not come in {RENDEZVOUS_SECONDS:.0f} s: look at their logs") from None
    except OSError as error:
        where = f"{address}:{port}, {error.strerror}"
        raise TrainingError(f"cannot listen ({where}): check MASTER_ADDR and MASTER_PORT") from error
    return peers


def read_greeting(connection: socket.socket) -> int:
    """Return the rank that the other side says it is; -1 for a stranger."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(STEP_SECONDS)
    try:
        greeting = connection.recv(len(GREETING) + 4, socket.MSG_WAITALL)
    except OSError:
        return -1
    return int.from_bytes(greeting[-4:], "big") if greeting.startswith(GREETING) else -1


def find_rank_zero(rank: int, address: str, port: int) -> socket.socket:
    """Connect to rank 0, again and again while it is not there yet. Raises TrainingError."""
    deadline = time.monotonic() + RENDEZVOUS_SECONDS
    while True:
        try:
            connection = socket.create_connection((address, port), timeout=STEP_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(GREETING + rank.to_bytes(4, "big"))
            return connection
        except OSError as error:
            if time.monotonic() > deadline:
                where = f"{address}:{port}, {error.strerror or error}"
                raise TrainingError(f"rank 0 does not answer ({where}): its own log says why") from error
            time.sleep(0.1)


# --- the training ---


def train(group: Group, training: list[Picture], test: list[Picture], epochs: int) -> list[float]:
    """Train and return the weights, which are the same on every rank."""
    weights, velocity = build_weights(), [0.0] * sum(SIZES)
    shard = training[group.rank :: group.size]
    steps = math.ceil(len(training) / (BATCH * group.size))
    for epoch in range(1, epochs + 1):
        random.Random(epoch).shuffle(shard)
        losses = 0.0
        for start in range(0, steps * BATCH, BATCH):
            batch = shard[start : start + BATCH]
            loss, gradient = compute_gradient(Network(weights), batch)
            count, loss, *total = group.add_up([len(batch), loss, *gradient])
            velocity = [MOMENTUM * old - RATE * new / count for old, new in zip(velocity, total, strict=True)]
            weights = [weight + change for weight, change in zip(weights, velocity, strict=True)]
            losses += loss
        accuracy = measure_accuracy(Network(weights), test)
        say(f"epoch {epoch}/{epochs} loss {losses / len(training):.4f} accuracy {accuracy:.1%}")
    return weights


def save(path: Path, weights: Row, accuracy: float) -> None:
    """Write the model as JSON."""
    sizes = {"pixels": PIXELS, "hidden": HIDDEN, "digits": DIGITS}
    path.write_text(json.dumps({**sizes, "accuracy": round(accuracy, 4), "weights": list(weights)}))


def say(line: str) -> None:
    """Print a line at once, so that whoever follows the log sees it."""
    print(line, flush=True)


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> None:
    """Meet the other ranks, train, and report. Raises TrainingError."""
    rank, size = read_number(env, "RANK", "0"), read_number(env, "WORLD_SIZE", "1")
    training, test = read_pictures(arguments.data)
    port = read_number(env, "MASTER_PORT", "29500")
    group = Group(rank, size, env.get("MASTER_ADDR", "127.0.0.1"), port)
    say(f"rank {rank} of {size}: {len(training[rank::size])} pictures to train on, {len(test)} to test with")
    weights = train(group, training, test, arguments.epochs)
    say(f"weights {hashlib.sha256(array('d', weights).tobytes()).hexdigest()[:12]}")
    if rank == 0:
        accuracy = measure_accuracy(Network(weights), test)
        say(f"test accuracy {accuracy:.1%}")
        save(arguments.model, weights, accuracy)


def read_number(env: Mapping[str, str], name: str, default: str) -> int:
    """Read a variable that holds a number. Raises TrainingError."""
    text = env.get(name, default)
    if not text.isdecimal():
        raise TrainingError(f"{name} is no number ({text!r}): set it to one")
    return int(text)


def main() -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(description="Train a small neural network on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--data", type=Path, default=Path(__file__).with_name("digits.csv.gz"))
    parser.add_argument("--model", type=Path, default=Path("model.json"), help="where rank 0 writes the model")
    try:
        run(parser.parse_args(), os.environ)
    except (TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
