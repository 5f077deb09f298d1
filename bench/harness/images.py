"""The first call of a stopped image, beside the same program started by hand; what its network adds; its disk."""

import os
import shutil

from .hob import Hob, write_folder
from .network import own_network
from .programs import Failed, free_port, json_output, wait_for
from .table import Row, median, number
from .wake import innermost

ROUNDS = 6
STARTS = 5  # of each, in each round
REPLICAS = 10
IMAGE = "local.test/bench:1"
PROGRAM = "function/handler"  # in the image
NETWORKS = ("none", "outbound")


def measure(bench):
    with own_network(), Hob(bench, "images") as hob:
        build(bench, hob)
        place = f"127.0.0.1:{free_port()}"
        bare = [bench.load, "start", place, "--times", str(STARTS), "--", bench.handler, place]
        wakes = {network: [] for network in NETWORKS}
        starts = []
        for _ in range(ROUNDS):
            starts += json_output(bare)["first_byte_ms"]
            for _ in range(STARTS):
                for network, samples in wakes.items():
                    samples.append(wake(hob, network))
        return [*times(starts, wakes), disk(hob)]


def build(bench, hob):
    """The tiny handler as an image that stands on nothing, deployed once with each network."""
    text = 'name = "bench"\nrun = ["./handler", ":8080"]\n'
    folder = write_folder(os.path.join(bench.scratch, "images-function"), {"hob.toml": text})
    shutil.copy(bench.handler, os.path.join(folder, "handler"))
    hob.cli("build", folder, "--image", IMAGE, "--base", "scratch")
    for network in NETWORKS:
        text = f'name = "{network}"\nnetwork = "{network}"\n[limits]\ncpu = {os.cpu_count()}\n'
        settings = write_folder(os.path.join(bench.scratch, "images-" + network), {"hob.toml": text})
        hob.cli("deploy", settings, "--image", IMAGE)
        hob.call(network, b"hello")


def wake(hob, name):
    """Milliseconds from the call to its first byte, once nothing of the last replica is left."""
    hob.cli("scale", name, "0")
    wait_for(f"the end of {name}", lambda: not hob.describe(name)["instances"])
    return hob.call(name, b"hello") * 1000


def times(starts, wakes):
    none, outbound = (wakes[network] for network in NETWORKS)
    bare = median(starts)
    cold = [each - bare for each in outbound]
    added = [one - other for one, other in zip(outbound, none)]
    note = f"call {number(median(outbound))} ms, bare program {number(bare)} ms"
    without = f"call {number(median(none))} ms with no way out"
    return [
        Row("cold start of an image, over its bare program", "ms", median(outbound) - bare, cold, ("<=", 60), note),
        Row("the way out of an image's network, at a cold start", "ms", median(outbound) - median(none), added,
            ("<=", 5), without),
    ]


def disk(hob):
    """What ten replicas take of the disk over one. Memory follows: one file is one copy in the page cache."""
    name, layers = NETWORKS[0], os.path.join(hob.data, "layers")
    one = size(layers)
    hob.cli("scale", name, str(REPLICAS))
    pids = [innermost(instance["pid"]) for instance in hob.describe(name)["instances"]]
    if len(pids) != REPLICAS:
        raise Failed(f"{len(pids)} of {REPLICAS} replicas run")
    ten = size(layers)
    files = {os.stat(f"/proc/{pid}/root/{PROGRAM}").st_ino for pid in pids}
    note = f"{number(ten / 1e6)} MB; they run {len(files)} file{'s' * (len(files) > 1)}"
    return Row(f"disk of {REPLICAS} replicas of an image, over one", "×", ten / one, note=note)


def size(folder):
    """Bytes on the disk, a file that has several names counted once."""
    found = {}
    for place, folders, files in os.walk(folder):
        for entry in [os.path.join(place, name) for name in folders + files]:
            data = os.lstat(entry)
            found[data.st_dev, data.st_ino] = data.st_blocks * 512
    return sum(found.values())
